"""From what was bound to what is wanted: an app's graph, its code and its arguments as data."""

from __future__ import annotations

import io
import logging
import pickle
import secrets
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec

from salver.companions import companion_app
from salver.core.autoscale import default_autoscaling_policy
from salver.core.graph import Graph
from salver.environment.prepare import Prepared, prepare
from salver.errors import SalverError, TargetError
from salver.pickler import CodePickler
from salver.program import INGRESS_MARK, Application, Deployment, answers_http
from salver.settings import Settings
from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.autoscaling import AutoscalingPolicy
from salver.spec.code import ImportedCode, PickledCode, digest
from salver.spec.companions import DeploymentActorConfig
from salver.spec.endpoint import endpoints_of
from salver.spec.environment import RuntimeEnv
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions

__all__ = ("ChangeError", "Changes", "build", "is_installed", "portable_policy")

_logger = logging.getLogger("salver")


@dataclass(frozen=True)
class Changes:
    """What a configuration says of an app besides its code, and wins over it."""

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by deployment
    environment: RuntimeEnv = field(default_factory=RuntimeEnv)  # of all; this process is in it


class ChangeError(SalverError):
    """A configuration asks of a deployment what does not go with its code."""

    def __init__(self, deployment: str, message: str) -> None:
        self.deployment = deployment
        super().__init__(message)


def build(
    app: Application,
    name: str,
    route_prefix: str | None,
    changes: Changes | None = None,
    *,
    version: str | None = None,
) -> AppSpec:
    """The spec of a bound app: discovery and pickling are one pass over the arguments.

    Replicas of the same `version` stay when the app is deployed again, and take changed options as
    far as they can. Without one it is new code every time: of code found by its import path nobody
    can tell whether something that it imports has changed.
    """
    building = _Building(name, changes or Changes(), version or secrets.token_hex(8))
    building.add(app)
    graph = building.graph
    for new, taken in graph.renamed.items():
        _logger.warning(
            "App %s has more than one deployment named %s; this one is called %s. "
            "Give it a name of its own with .options(name=...).", name, taken, new,
        )  # fmt: skip
    _refuse_same_models(graph.parts)
    *others, ingress = graph.parts
    return AppSpec(
        name=name,
        route_prefix=route_prefix,
        deployments=(*others, msgspec.structs.replace(ingress, ingress=True)),
        sys_path=tuple(str(Path(entry).absolute()) for entry in sys.path),
        cwd=str(Path.cwd()),
    )


def _refuse_same_models(specs: Sequence[DeploymentSpec]) -> None:
    owners: dict[tuple[str, str], str] = {}
    for spec in specs:
        for found in spec.endpoints:
            own = f"{spec.id.name}.{found.method}"
            owner = owners.setdefault((found.model, found.version), own)
            if owner != own:
                raise ValueError(
                    f"Two endpoints of this app are the model {found}: {owner} and {own}. "
                    "Give one of them another name or version: @endpoint(name=..., version=...)."
                )


def _refuse_hidden_routes(inner: Deployment) -> None:
    if hasattr(inner.func_or_class, INGRESS_MARK):
        raise SalverError(
            f"Deployment {inner.name} has @ingress and is an argument of another: no request would "
            "ever reach its routes, for only the outermost deployment of an app answers HTTP. Make "
            "it that, run it as an app of its own, or leave out @ingress."
        )


class _Building:
    """One app on its way: its graph, and what is changed of its deployments."""

    def __init__(self, app_name: str, changes: Changes, version: str) -> None:
        self.graph: Graph[DeploymentSpec] = Graph()
        self.app_name = app_name
        self._changes = changes
        self._version = version

    def add(self, app: Application) -> str:
        """The name under which the app's deployment is in the graph."""
        deployment = app.deployment
        return self.graph.add(
            app, deployment.name, lambda unique: self._spec(app, unique), deployment.named_by
        )

    def _spec(self, app: Application, unique: str, version: str = "") -> DeploymentSpec:
        """`version` is that of a companion's owner."""
        deployment = app.deployment
        options = self._options(deployment, unique)
        companions = options.deployment_actors
        version = version or self._add_companions(unique, companions)
        prepared = _prepared(options)
        env_vars = {**self._changes.environment.env_vars, **options.env_vars}
        return DeploymentSpec(
            id=DeploymentId(unique, self.app_name),
            code=code_of(deployment),
            arguments=_pickled((app.args, app.kwargs), self, deployment),
            options=_portable(
                msgspec.structs.replace(options, env_vars=env_vars, deployment_actors=[])
            ),
            version=version,
            endpoints=endpoints_of(deployment.func_or_class, unique),
            answers_http=answers_http(deployment.func_or_class),
            sys_path=prepared.sys_path,
            cwd=prepared.cwd,
            companions=tuple(config.name for config in companions),
        )

    def _add_companions(self, owner: str, configs: Sequence[DeploymentActorConfig]) -> str:
        """The version of the owner, which is another one where a companion is another one."""
        apps = {config.name: self._companion(owner, config) for config in configs}
        facts = [
            (
                name,
                code_of(app.deployment),
                _pickled((app.args, app.kwargs), self, app.deployment),
                app.deployment.settings,
            )
            for name, app in apps.items()
        ]
        version = digest((self._version, facts)) if facts else self._version
        for name, app in apps.items():
            companion = DeploymentId(owner, self.app_name).companion(name, version)
            self.graph.add(app, companion.name, partial(self._spec, app, version=version))
        return version

    def _companion(self, owner: str, config: DeploymentActorConfig) -> Application:
        try:
            code = config.actor_class
            code = _imported(code, "actor_class") if isinstance(code, str) else code
            return companion_app(config, getattr(code, "func_or_class", code))
        except (TypeError, ValueError) as error:
            raise ChangeError(owner, str(error)) from None

    def _options(self, deployment: Deployment, unique: str) -> DeploymentOptions:
        changed = self._changes.options.get(unique)
        if not changed:
            return deployment.settings
        try:
            return deployment.options(**changed).settings
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ChangeError(unique, str(error)) from None


def _prepared(options: DeploymentOptions) -> Prepared:
    """What this deployment has of its own."""
    env = RuntimeEnv({}, options.working_dir, options.py_modules, options.pip)
    if env == RuntimeEnv():
        return Prepared()
    return prepare(env, Path(Settings.read().cache_dir))


def code_of(deployment: Deployment) -> ImportedCode | PickledCode:
    """By import path where every process can import it, else by value."""
    code = deployment.func_or_class
    module, qualname = code.__module__, code.__qualname__
    if importable(module) and _found(module, qualname, code):
        return ImportedCode(module, qualname)
    return PickledCode(_pickled(code, None, deployment))


def importable(module: str) -> bool:
    """Whether another process, with the same `sys.path`, can import the module by its name."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if module == "__main__" or spec is None:
        return False
    found = _searched(module)
    return found is not None and found.origin == spec.origin


def _searched(module: str) -> ModuleSpec | None:
    """What an import would find. Tests and notebooks load modules that no import finds."""
    spec, path = None, None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        specs = (finder.find_spec(name, path) for finder in sys.meta_path)
        spec = next((found for found in specs if found is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec


def _found(module: str, qualname: str, code: object) -> bool:
    """Whether the name leads to this very code, or to a deployment made of it."""
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found is code or getattr(found, "func_or_class", None) is code


@contextmanager
def _by_value(module: str, *, always: bool = False) -> Iterator[None]:
    """Within, what this module defines is pickled by value if no other process can import it."""
    loaded = sys.modules.get(module)
    if (
        loaded is None
        or module == "__main__"  # which is by value anyway
        or module in cloudpickle.list_registry_pickle_by_value()
        or (importable(module) and not always)
    ):
        yield
        return
    cloudpickle.register_pickle_by_value(loaded)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(loaded)


def _pickled(value: object, building: _Building | None, owner: Deployment) -> bytes:
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, building)
    try:
        with _by_value(owner.func_or_class.__module__):
            pickler.dump(value)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        what = "arguments" if building else "code"
        raise SalverError(
            f"The {what} of deployment {owner.name} cannot be sent to another process: {error}. "
            "Make what cannot be pickled (connections, open files, locks of C code) inside "
            "`__init__`, or move the code from the script to a module that can be imported."
        ) from error
    return buffer.getvalue()


class _Pickler(CodePickler):
    """Apps become references to handles."""

    def __init__(self, file: io.BytesIO, building: _Building | None) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.building = building

    def persistent_id(self, obj: object) -> tuple[str, str, str] | None:
        if self.building is not None and isinstance(obj, Application):
            _refuse_hidden_routes(obj.deployment)
            return ("handle", self.building.add(obj), self.building.app_name)
        return None


# ---- autoscaling policies and request routers: other processes run them


def _portable(options: DeploymentOptions) -> DeploymentOptions:
    routing = options.request_router_config
    if routing is not None and not routing.is_default:
        routing = msgspec.structs.replace(
            routing, request_router_class=_portable_router(routing.request_router_class)
        )
        options = msgspec.structs.replace(options, request_router_config=routing)
    scales = options.autoscaling_config
    if scales is None or scales.policy.is_default:
        return options
    scales = msgspec.structs.replace(scales, policy=portable_policy(scales.policy))
    return msgspec.structs.replace(options, autoscaling_config=scales)


def _portable_router(code: Any) -> ImportedCode | PickledCode:
    """Its code: callers, the doors among them, do not look where the app's modules are."""
    if isinstance(code, ImportedCode | PickledCode):
        return code
    if isinstance(code, str):
        code = _imported(code, "request_router_class")
    return _sent_code(code, "request router", "callers")


def portable_policy(policy: AutoscalingPolicy) -> AutoscalingPolicy:
    """The same policy with its code, which is sent by value: the controller imports no app.

    So it runs as it is now, whatever happens to the file. What is installed is imported there.
    """
    function = policy.policy_function
    if isinstance(function, str) and not policy.is_default:
        function = _imported(function, "policy_function")
    if policy.is_default or function is default_autoscaling_policy:
        return AutoscalingPolicy()
    if isinstance(function, ImportedCode | PickledCode):
        return policy
    return AutoscalingPolicy(
        _sent_code(function, "autoscaling policy", "the controller"), policy.policy_kwargs
    )


def _sent_code(function: Any, what: str, whom: str) -> ImportedCode | PickledCode:
    """Code for processes that import no app: by value, unless it is installed."""
    module, qualname = function.__module__, function.__qualname__
    by_name = importable(module) and _found(module, qualname, function)
    if by_name and is_installed(module):
        return ImportedCode(module, qualname)
    buffer = io.BytesIO()
    try:
        with _by_value(module, always=True):
            _Pickler(buffer, None).dump(function)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        if by_name:
            return ImportedCode(module, qualname)
        raise SalverError(
            f"The {what} {qualname} cannot be sent to {whom}: {error}. "
            "Move it to a module that can be imported."
        ) from error
    return PickledCode(buffer.getvalue())


def _imported(path: str, what: str) -> Any:
    module, colon, name = path.partition(":")
    if not colon:
        module, _, name = path.rpartition(".")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise TargetError(f"{what}={path!r} cannot be imported: {error}.") from error
    return found


def is_installed(module: str) -> bool:
    """Whether it is no code of the user's own, and the same in every process."""
    if module.partition(".")[0] == "salver":  # also where it runs from a checkout
        return True
    file = getattr(sys.modules[module], "__file__", None)
    places = (sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib"))
    return file is None or any(Path(file).is_relative_to(place) for place in places)
