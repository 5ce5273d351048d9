"""`runtime_env`: what the processes of an app, or of one deployment, are given besides its code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from salver.spec.fields import read
from salver.spec.mistakes import unknown

__all__ = (
    "EnvVars",
    "Pip",
    "PyModules",
    "RuntimeEnv",
    "WorkingDir",
    "check_variables",
    "is_remote",
    "read_runtime_env",
)


# What a change of one asks of replicas: `spec/options.py` has the other answers.
_RESTART: Final = {"change": "restart"}
EnvVars = Annotated[
    dict[str, str],
    Meta(description="Environment variables of a replica's process.", extra=_RESTART),
]
WorkingDir = Annotated[
    str | None,
    Meta(
        description="Folder, or zip of one, that replicas start in and import from first; also by "
        "its http(s) address.",
        extra=_RESTART,
    ),
]
PyModules = Annotated[
    list[str],
    Meta(
        description="Packages and modules to import: folders, files, wheels; zips by http(s).",
        extra=_RESTART,
    ),
]
Pip = Annotated[
    list[str] | str | None,
    Meta(
        description="Packages, or a requirements file: installed once, into their own folder.",
        extra=_RESTART,
    ),
]


class RuntimeEnv(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Variables, a folder, modules and packages. A deployment has options of the same names."""

    env_vars: EnvVars = {}
    working_dir: WorkingDir = None
    py_modules: PyModules = []
    pip: Pip = None

    def over(self, under: RuntimeEnv) -> RuntimeEnv:
        """This one where it says something, the other where not; variables are merged."""
        return RuntimeEnv(
            {**under.env_vars, **self.env_vars},
            self.working_dir if self.working_dir is not None else under.working_dir,
            self.py_modules or under.py_modules,
            self.pip if self.pip is not None else under.pip,
        )


_REFUSED: Final = {
    "conda": "Salver makes pip environments only. Start it inside the conda environment.",
    "uv": "give the same list as `pip`.",
    "container": "replicas share this machine. Start Salver inside the container.",
    "image_uri": "replicas share this machine. Start Salver inside the container.",
    "excludes": "nothing is copied, so nothing is left out.",
    "java_jars": "Salver runs Python.",
    "nsight": "start the profiler around `salver run`.",
    "config": "an environment is built when an app is deployed, without a limit of its own.",
}
_LOCAL: Final = ("file", "local")
_FETCHED: Final = ("https", "http")
_PACKED: Final = {"working_dir": (".zip",), "py_modules": (".zip", ".whl")}


def read_runtime_env(given: object, called: str = "runtime_env") -> RuntimeEnv:
    """What was set, checked. TypeError, ValueError, NotImplementedError: what is wrong with it.

    `called`: as users know it; empty: its keys are options by themselves.
    """
    if given is None:
        return RuntimeEnv()
    if not isinstance(given, Mapping):
        raise TypeError(
            f'runtime_env={given!r} is not valid: expected a dict such as {{"env_vars": {{...}}}}.'
        )
    fields = {}
    for name, value in given.items():
        if name in RuntimeEnv.__struct_fields__:
            if value is not None:
                fields[name] = _pip(value) if name == "pip" else value
        elif name not in _REFUSED:
            known = RuntimeEnv.__struct_fields__
            raise ValueError(unknown(str(name), known, "a key of runtime_env"))
        elif value not in (None, {}, [], ""):
            raise NotImplementedError(
                f"runtime_env[{name!r}]={value!r} is not supported: {_REFUSED[name]}"
            )
    return _checked(read(RuntimeEnv, fields, called), called)


def check_variables(env_vars: Mapping[str, str]) -> None:
    """ValueError: no process can have a variable of such a name or value."""
    for name, value in env_vars.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(
                f"env_vars has a variable named {name!r}: expected a name without `=`, and no NUL "
                "in it or in its value"
            )


def _checked(env: RuntimeEnv, called: str) -> RuntimeEnv:
    try:
        check_variables(env.env_vars)
    except ValueError as error:
        raise ValueError(f"{called}: {error}." if called else f"{error}.") from None
    _check_place("working_dir", env.working_dir or "")
    for module in env.py_modules:
        _check_place("py_modules", module)
    return env


def is_remote(place: str) -> bool:
    """Whether it has to be fetched."""
    scheme, mark, _ = place.partition("://")
    return bool(mark) and scheme in _FETCHED


def _check_place(name: str, place: str) -> None:
    scheme, mark, rest = place.partition("://")
    if is_remote(place):
        path, packed = re.split("[?#]", rest, maxsplit=1)[0], _PACKED[name]
        if not path.endswith(packed):
            raise ValueError(
                f"{name}: {place!r} is not valid: expected the address of a {' or '.join(packed)}."
            )
    elif mark and scheme not in _LOCAL:
        raise NotImplementedError(
            f"{name}: {place!r} is not supported: Salver fetches by https:// and http:// only. "
            "Give such an address of the zip, or download it and give its path."
        )


def _pip(value: Any) -> Any:
    """Ray's users may write a dict; what it says besides the packages is not for us."""
    if not isinstance(value, Mapping):
        return value
    for name, one in value.items():
        if name != "packages" and one not in (None, False, []):
            raise NotImplementedError(
                f"runtime_env['pip'][{name!r}]={one!r} is not supported. Give the packages as a "
                "list, or the path of a requirements file, which may hold pip's options."
            )
    return value.get("packages", [])
