"""A configuration file: which apps run, and what differs from their code. Ray Serve's schema.

Its keys are the fields below and, for a deployment, the options of `spec/options.py`. What the file
says wins over the code, what the code says over the defaults; what is unset says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path as Folder
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta

from salver.errors import SalverError
from salver.spec.autoscaling import AutoscalingPolicy
from salver.spec.controller import ControllerOptions
from salver.spec.document import Document, Path, read_document
from salver.spec.environment import is_remote, read_runtime_env
from salver.spec.familiar import ProxyLocation, http_settings
from salver.spec.given import OptionsDict, read_options
from salver.spec.grpc import grpc_options
from salver.spec.ids import check_name, check_prefix
from salver.spec.logging import read_logging
from salver.spec.mistakes import struct_in
from salver.spec.options import DeploymentOptions
from salver.spec.structs import fields_of
from salver.spec.walk import note_mistakes, note_unknown

__all__ = ("DEPLOYMENT_KEYS", "LATER", "AppEntry", "ConfigFile", "read_config", "read_policy")

LATER: Final = ("tracing_config", "external_scaler_enabled")
# What a deployment's entry may say, `name` among it.
DEPLOYMENT_KEYS: Final = tuple(sorted(get_type_hints(OptionsDict)))
_UNKNOWN: Final = re.compile(r"is not an? (option|key|field) ")
Read = Callable[[Any], Any]
_WRONG: Final = (TypeError, ValueError, NotImplementedError, SalverError)


class AppEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One app of the file."""

    name: Annotated[str, Meta(description="Name of the app; unique.")] = "default"
    route_prefix: Annotated[
        str | None, Meta(description="Path under which it answers; null: no HTTP.")
    ] = "/"
    import_path: Annotated[
        str, Meta(description="Its code: `module:name` of an app, or of a function that builds it.")
    ]
    runtime_env: Annotated[
        dict[str, Any] | None, Meta(description="What the app's processes are given.")
    ] = {}
    args: Annotated[
        dict[str, Any], Meta(description="Arguments of the function that builds the app.")
    ] = {}
    deployments: Annotated[
        list[dict[str, Any]], Meta(description="Options of its deployments; they win over code.")
    ] = []
    autoscaling_policy: Annotated[
        dict[str, Any] | None, Meta(description="A rule that scales all its deployments together.")
    ] = None
    logging_config: Annotated[
        dict[str, Any] | None,
        Meta(description="Logging of deployments that have none of their own."),
    ] = None
    external_scaler_enabled: Annotated[
        bool, Meta(description="Whether replicas are counted from outside.")
    ] = False


class ConfigFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `salver run config.yaml` runs."""

    proxy_location: Annotated[
        ProxyLocation | None, Meta(description="Where doors are. Disabled: nowhere.")
    ] = None
    http_options: Annotated[dict[str, Any] | None, Meta(description="The HTTP door.")] = None
    grpc_options: Annotated[dict[str, Any] | None, Meta(description="The gRPC door.")] = None
    logging_config: Annotated[dict[str, Any] | None, Meta(description="Logging of everything.")] = (
        None
    )
    tracing_config: Annotated[dict[str, Any] | None, Meta(description="Where spans go.")] = None
    controller_options: Annotated[
        ControllerOptions | None,
        Meta(description="The controller's process, where autoscaling policies run."),
    ] = None
    target_capacity: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None,
        Meta(description="Percentage of the replicas that are asked for."),
    ] = None
    applications: Annotated[list[AppEntry], Meta(description="The apps, which start together.")]


def read_config(name: str, content: bytes, folder: Folder) -> tuple[ConfigFile, Document]:
    """The file's content, every part of it checked. ConfigError: all that is wrong, and where.

    Local paths in it are relative to `folder`, and absolute in what is returned.
    """
    document = read_document(name, content)
    note_mistakes(document, document.value, ConfigFile, ())
    if isinstance(document.value, Mapping):
        _check_top(document, document.value)
        apps = document.value.get("applications")
        for index, app in enumerate(apps if isinstance(apps, list) else ()):
            if isinstance(app, Mapping):
                _check_app(document, app, ("applications", index))
        _check_unique(document, "name", "default", "name")
        _check_unique(document, "route_prefix", "/", "prefix")
    document.raise_problems()
    config = msgspec.convert(document.value, ConfigFile)
    entries = [_at_home(entry, folder) for entry in config.applications]
    return msgspec.structs.replace(config, applications=entries), document


def _check_top(document: Document, given: Mapping[str, Any]) -> None:
    _check_section(document, given, (), "http_options", http_settings)
    _check_section(document, given, (), "grpc_options", grpc_options)
    _check_section(document, given, (), "logging_config", read_logging)
    _refuse_later(document, given, ())
    if given.get("applications") == []:
        document.problem(("applications",), "got an empty list, expected at least one app.")


def _check_section(
    document: Document, holder: Mapping[str, Any], path: Path, name: str, read: Read
) -> None:
    """A section of its own; each mistake in it has its own place."""
    section = holder.get(name)
    if isinstance(section, Mapping):
        _check_parts(document, section, (*path, name), read)


def _check_parts(document: Document, given: Mapping[str, Any], path: Path, read: Read) -> None:
    """What goes together is right, though a part of it alone may be none."""
    try:
        read(given)
    except _WRONG:
        before = len(document.problems)
        for key, value in given.items():
            _try(document, (*path, key), read, {key: value})
        if len(document.problems) == before:
            _try(document, path, read, given)


def _try(document: Document, path: Path, read: Read, given: Any) -> None:
    try:
        read(given)
    except _WRONG as error:
        document.problem(path, str(error), at_key=bool(_UNKNOWN.search(str(error))))


def _refuse_later(document: Document, given: Mapping[str, Any], path: Path) -> None:
    for name in LATER:
        if given.get(name) not in (None, False, {}):
            message = "not there yet in this version of Salver. Leave it out."
            document.problem((*path, name), message, at_key=True)


# ---- an app


def read_policy(given: Mapping[str, Any]) -> AutoscalingPolicy:
    """The rule that scales a whole app."""
    return AutoscalingPolicy(**given)


def _check_app(document: Document, app: Mapping[str, Any], path: Path) -> None:
    _refuse_later(document, app, path)
    if isinstance(name := app.get("name"), str):
        _try(document, (*path, "name"), check_name, name)
    if isinstance(prefix := app.get("route_prefix"), str):
        _try(document, (*path, "route_prefix"), check_prefix, prefix)
    if isinstance(target := app.get("import_path"), str):
        _try(document, (*path, "import_path"), _target, target)
    _check_section(document, app, path, "runtime_env", read_runtime_env)
    _check_section(document, app, path, "logging_config", read_logging)
    _check_section(document, app, path, "autoscaling_policy", read_policy)
    entries = app.get("deployments")
    if isinstance(entries, list):
        _check_entries(document, entries, (*path, "deployments"))


def _target(import_path: str) -> str:
    """`module:name`, also of `module.name`."""
    module, colon, name = import_path.partition(":")
    if not colon:
        module, _, name = import_path.rpartition(".")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError(f"import_path={import_path!r} is not valid: expected 'module:name'.")
    return f"{module}:{name}"


def _check_unique(document: Document, key: str, default: str, noun: str) -> None:
    seen: dict[str, int] = {}
    apps = document.value.get("applications")
    for index, app in enumerate(apps if isinstance(apps, list) else ()):
        value = app.get(key, default) if isinstance(app, Mapping) else None
        if not isinstance(value, str):
            continue
        if value in seen:
            unsaid = "" if key in app else f" (unless it is said, {key} is {default!r})"
            document.problem(
                ("applications", index, key),
                f"the {noun} {value!r} is applications[{seen[value]}]'s already{unsaid}. "
                "Choose another.",
            )
        seen.setdefault(value, index)


# ---- a deployment's entry


def _check_entries(document: Document, entries: list[Any], path: Path) -> None:
    seen: dict[str, int] = {}
    for index, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            continue  # which `check` has noted
        here = (*path, index)
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            document.problem(here, "name is missing: expected the name of a deployment.")
        elif name in seen:
            document.problem((*here, "name"), f"{name!r} has its entry in [{seen[name]}] already.")
        else:
            seen[name] = index
        _check_options(document, {k: v for k, v in entry.items() if k != "name"}, here)


def _check_options(document: Document, given: Mapping[str, Any], path: Path) -> None:
    before = len(document.problems)
    note_unknown(document, given, DEPLOYMENT_KEYS, path)
    for key, value in given.items():
        if key not in DEPLOYMENT_KEYS:
            continue
        _check_option(document, key, value, (*path, key))
    if len(document.problems) == before:
        _try(document, path, _read_together, given)


def _check_option(document: Document, key: str, value: Any, path: Path) -> None:
    """One option; what is wrong deep inside of it is told with its own place."""
    try:
        read_options({key: value})
    except _WRONG:
        noted = len(document.problems)
        fields = fields_of(DeploymentOptions)
        struct = struct_in(fields[key].type) if key in fields else None
        if struct is not None and isinstance(value, Mapping):
            note_mistakes(document, value, struct, path)
        elif key == "ray_actor_options" and isinstance(value, Mapping):
            _check_process(document, value, path)
        if len(document.problems) == noted:
            _try(document, (*path, *_culprit(key, value)), read_options, {key: value})


def _culprit(key: str, value: Any) -> Path:
    """The one part of an option without which the rest would be right, if there is one."""
    if not isinstance(value, Mapping) or key == "user_config":
        return ()
    rests = {part: {k: v for k, v in value.items() if k != part} for part in value}
    guilty = [part for part, rest in rests.items() if _reads(key, rest)]
    return (guilty[0],) if len(guilty) == 1 else ()


def _reads(key: str, value: Any) -> bool:
    try:
        read_options({key: value})
    except _WRONG:
        return False
    return True


def _check_process(document: Document, given: Mapping[str, Any], path: Path) -> None:
    for key, value in given.items():
        if key == "runtime_env" and isinstance(value, Mapping):
            _check_parts(document, value, (*path, key), read_runtime_env)
        else:
            _try(document, (*path, key), read_options, {"ray_actor_options": {key: value}})


def _read_together(given: Mapping[str, Any]) -> DeploymentOptions:
    return DeploymentOptions(**read_options(given))


# ---- paths


def _at_home(entry: AppEntry, folder: Folder) -> AppEntry:
    """The entry with its local paths absolute and its import path with a colon."""
    return msgspec.structs.replace(
        entry,
        import_path=_target(entry.import_path),
        runtime_env=_absolute(entry.runtime_env or {}, folder),
        deployments=[_options_at_home(options, folder) for options in entry.deployments],
    )


def _options_at_home(options: dict[str, Any], folder: Folder) -> dict[str, Any]:
    process = options.get("ray_actor_options") or {}
    if process.get("runtime_env"):
        process = {**process, "runtime_env": _absolute(process["runtime_env"], folder)}
        options = {**options, "ray_actor_options": process}
    return _absolute(options, folder)


def _absolute(given: Mapping[str, Any], folder: Folder) -> dict[str, Any]:
    """`working_dir`, `py_modules` and `pip` with paths that hold from everywhere."""
    env = dict(given)
    if env.get("working_dir"):
        env["working_dir"] = _path(env["working_dir"], folder)
    if env.get("py_modules"):
        env["py_modules"] = [_path(module, folder) for module in env["py_modules"]]
    if env.get("pip"):
        env["pip"] = _pip(read_runtime_env({"pip": env["pip"]}).pip, folder)
    return env


def _pip(given: list[str] | str | None, folder: Folder) -> list[str] | str | None:
    if isinstance(given, list):
        return [_path(item, folder) if item.startswith((".", "/")) else item for item in given]
    return None if given is None else _path(given, folder)


def _path(given: str, folder: Folder) -> str:
    if is_remote(given):
        return given
    scheme, mark, rest = given.partition("://")
    return str(folder / (rest if mark and scheme in ("file", "local") else given))
