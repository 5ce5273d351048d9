"""From what was bound to what is wanted: an app's graph, its code and its arguments as data."""

from __future__ import annotations

import inspect
import io
import logging
import pickle
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec

from salver.companions import companion_app
from salver.core.graph import Graph
from salver.environment.prepare import Prepared, prepare
from salver.errors import SalverError
from salver.origin import importable, is_program, leads_to
from salver.pickler import CodePickler, by_value
from salver.portable import imported, portable_router, portable_scaling
from salver.program import INGRESS_MARK, Application, Deployment, answers_http, page_of
from salver.replica.batching import Batched
from salver.replica.code import load_code
from salver.settings import Settings
from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.code import ImportedCode, PickledCode, digest
from salver.spec.companions import DeploymentActorConfig
from salver.spec.endpoint import EndpointSpec, endpoints_of
from salver.spec.environment import RuntimeEnv
from salver.spec.ids import DeploymentId, check_name, check_prefix
from salver.spec.options import DeploymentOptions

__all__ = ("ChangeError", "Changes", "build", "check_target")

_SIGNATURE: Final = "salver.oip.signature"  # needs numpy, which only endpoints need
_logger = logging.getLogger("salver")


@dataclass(frozen=True)
class Changes:
    """What a configuration says of an app besides its code, and wins over it."""

    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by deployment
    environment: RuntimeEnv = field(default_factory=RuntimeEnv)  # of all; this process is in it
    inline: bool = False  # the app runs in this process, which has the packages that it has


class ChangeError(SalverError):
    """A configuration asks of a deployment what does not go with its code."""

    def __init__(self, deployment: str, path: tuple[str | int, ...], message: str) -> None:
        self.deployment = deployment
        self.path = path  # within what is said of the deployment
        super().__init__(message)


def check_target(target: object, name: str, route_prefix: str | None, caller: str = "run") -> None:
    """Refuse what no app can be, be called, or answer under."""
    if not isinstance(target, Application):
        raise TypeError(
            f"{caller}() takes an Application, which `Deployment.bind()` returns; got {target!r}."
        )
    check_name(name)
    if route_prefix is not None:
        check_prefix(route_prefix)


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
        with self._said_of(unique):
            options = deployment.options(**self._changes.options.get(unique, {})).settings
        companions = options.deployment_actors
        version = version or self._add_companions(unique, companions)
        with self._said_of(unique, "ray_actor_options", "runtime_env"):
            prepared = Prepared() if self._changes.inline else _prepared(options)
        env_vars = {**self._changes.environment.env_vars, **options.env_vars}
        options = msgspec.structs.replace(options, env_vars=env_vars, deployment_actors=[])
        return DeploymentSpec(
            id=DeploymentId(unique, self.app_name),
            code=code_of(deployment),
            arguments=_pickled((app.args, app.kwargs), self, deployment),
            options=self._portable(unique, options),
            version=version,
            endpoints=_endpoints(deployment.func_or_class, unique),
            answers_http=answers_http(deployment.func_or_class),
            page=page_of(deployment.func_or_class),
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
        with self._said_of(owner, "deployment_actors"):
            code = config.actor_class
            code = imported(code, "actor_class") if isinstance(code, str) else code
            try:
                return companion_app(config, getattr(code, "func_or_class", code))
            except (TypeError, ValueError) as error:
                raise SalverError(str(error)) from None

    def _portable(self, unique: str, options: DeploymentOptions) -> DeploymentOptions:
        with self._said_of(unique, "request_router_config", "request_router_class"):
            router = portable_router(options.request_router_config)
        with self._said_of(unique, "autoscaling_config", "policy", "policy_function"):
            scales = portable_scaling(options.autoscaling_config)
        return msgspec.structs.replace(
            options, request_router_config=router, autoscaling_config=scales
        )

    @contextmanager
    def _said_of(self, unique: str, *path: str) -> Iterator[None]:
        """What is wrong within is the configuration's mistake, if it says this of the deployment:
        ChangeError tells where. What the code says is not its mistake."""
        try:
            yield
        except (TypeError, ValueError, NotImplementedError, SalverError) as error:
            said: Any = self._changes.options.get(unique)
            for step in path if said is not None else ():
                said = said.get(step) if isinstance(said, Mapping) else None
            if said is None:
                raise
            raise ChangeError(unique, path, str(error)) from error


def _endpoints(code: Any, deployment: str) -> tuple[EndpointSpec, ...]:
    """TypeError: one of them has an annotation that no protocol can carry."""
    found = endpoints_of(code, deployment)
    for spec in found:
        method = getattr(code, spec.method) if inspect.isclass(code) else code
        batched = isinstance(method, Batched)
        if batched or inspect.isfunction(method):  # of all else only the living object knows
            function = method.args[0].function if batched else method
            import_module(_SIGNATURE).Signature.of(function, batched=batched)
    return found


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
    if importable(module) and leads_to(module, qualname, code):
        return ImportedCode(module, qualname)
    try:
        return PickledCode(_pickled(code, None, deployment))
    except SalverError:
        app = getattr(code, INGRESS_MARK, None)
        name = None if app is None else _name_of(app)
        if name is None:
            raise
        return PickledCode(_pickled(code, None, deployment, {id(app): name}))


def _name_of(app: Any) -> ImportedCode | None:
    """Where an ASGI app is found that holds what cannot be pickled: it is a module's."""
    for module, loaded in list(sys.modules.items()):
        for name, value in list(getattr(loaded, "__dict__", {}).items()):
            if value is app and importable(module):
                return ImportedCode(module, name)
    return None


def _pickled(
    value: object,
    building: _Building | None,
    owner: Deployment,
    named: Mapping[int, ImportedCode] = MappingProxyType({}),
) -> bytes:
    """`named`: objects that go by their names instead, by their ids."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, building, named)
    module = owner.func_or_class.__module__
    try:
        with by_value(() if importable(module) else (module,)):
            pickler.dump(value)
    except Exception as error:  # what users' objects do to be pickled may raise anything
        if error is pickler.inner:
            raise
        what = "arguments" if building else "code"
        why = f"{type(error).__name__}: {error}".rstrip(".")
        raise SalverError(
            f"The {what} of deployment {owner.name} cannot be sent to another process: {why}. "
            "Make what cannot be pickled (connections, open files, locks of C code) inside "
            f"`__init__`, or {_to_be_imported(module)}."
        ) from error
    return buffer.getvalue()


def _to_be_imported(module: str) -> str:
    if is_program(module):
        return f'call run() of {module} under `if __name__ == "__main__":`'
    return "move the code from the script to a module that can be imported"


class _Pickler(CodePickler):
    """Apps become references to handles; what is `named` is imported by its name."""

    def __init__(
        self,
        file: io.BytesIO,
        building: _Building | None = None,
        named: Mapping[int, ImportedCode] = MappingProxyType({}),
    ) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.building = building
        self.inner: Exception | None = None  # what is wrong with an app that was found
        self._named = named

    def reducer_override(self, obj: object) -> Any:
        name = self._named.get(id(obj))
        return (load_code, (name,)) if name is not None else super().reducer_override(obj)

    def persistent_id(self, obj: object) -> tuple[str, str, str] | None:
        if self.building is None or not isinstance(obj, Application):
            return None
        try:
            _refuse_hidden_routes(obj.deployment)
            return ("handle", self.building.add(obj), self.building.app_name)
        except Exception as error:
            self.inner = error
            raise
