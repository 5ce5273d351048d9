"""The public verbs: run, start, status, delete, shutdown, and handles by name."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from salver.build import Changes, build, check_target
from salver.calls.context import current_call
from salver.calls.handle import DeploymentHandle
from salver.errors import DeployFailedError, SalverError
from salver.launch import Capacity, default_http
from salver.origin import mark_programs
from salver.program import Application
from salver.replica.context import ReplicaContext, current_replica
from salver.session import Session
from salver.settings import Settings
from salver.spec.app import AppSpec
from salver.spec.companions import DeploymentActorContext
from salver.spec.controller import ControllerOptions, read_controller_options
from salver.spec.environment import RuntimeEnv
from salver.spec.familiar import ProxyLocation, http_settings, read_location, without_door
from salver.spec.grpc import grpc_options as read_grpc_options
from salver.spec.ids import DeploymentId
from salver.spec.logging import LoggingConfig, read_logging
from salver.spec.mistakes import unknown
from salver.spec.status import ApplicationStatus, ServeStatus

__all__ = (
    "delete",
    "get_app_handle",
    "get_deployment_actor",
    "get_deployment_actor_context",
    "get_deployment_handle",
    "get_multiplexed_model_id",
    "get_replica_context",
    "run",
    "shutdown",
    "start",
    "status",
)

_logger: Final = logging.getLogger("salver")

# This process's one instance; `shutdown()` closes it, and so does the end of the process.
session = Session()


def start(
    proxy_location: str | ProxyLocation | None = None,
    http_options: Any = None,
    grpc_options: Any = None,
    logging_config: LoggingConfig | dict[str, Any] | None = None,
    *,
    controller_options: ControllerOptions | dict[str, Any] | None = None,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    **later: Any,
) -> None:
    """Start an instance in the background of this process; `run` does it by itself when needed.

    `num_cpus`, `num_gpus`, `resources`: what replicas may use together, instead of what is there.
    """
    if later.pop("detached", None):  # of old programs
        _logger.info("start(detached=True) means nothing here: the instance ends with its program.")
    _refuse_later(later, start)
    if session.only_builds:
        return
    location = None if proxy_location is None else read_location(proxy_location)
    session.start(
        http_settings(http_options, default=session.http or default_http()),
        Capacity(num_cpus=num_cpus, num_gpus=num_gpus, resources=resources or {}),
        read_logging(logging_config),
        None if grpc_options is None else read_grpc_options(grpc_options),
        read_controller_options(controller_options),
        doors=location is not ProxyLocation.Disabled and not without_door(http_options),
    )


def run(
    target: Application,
    blocking: bool = False,
    name: str = "default",
    route_prefix: str | None = "/",
    logging_config: LoggingConfig | dict[str, Any] | None = None,
    *,
    wait_for_ready: bool = True,
    _local_testing_mode: bool = False,
    controller_options: ControllerOptions | dict[str, Any] | None = None,
    **later: Any,
) -> DeploymentHandle[Any]:
    """Run an app, return the handle of its ingress once it answers.

    Under a `name` that runs already, it takes the old app's place. `route_prefix=None`: no HTTP.
    `blocking=True` stays until Ctrl-C, or `shutdown()` in a thread. `wait_for_ready=False` does not
    wait for the replicas. `controller_options`: of the instance, if this starts one.
    """
    _refuse_later(later, run)
    controller = read_controller_options(controller_options)
    apps = [RunTarget(target, name, route_prefix, logging_config)]
    return _run_apps(apps, blocking, wait_for_ready, _local_testing_mode, controller)[0]


def _run(
    target: Application,
    *,
    _blocking: bool = True,
    name: str = "default",
    route_prefix: str | None = "/",
    logging_config: LoggingConfig | dict[str, Any] | None = None,
    **later: Any,
) -> DeploymentHandle[Any]:
    """`run`, as Ray Serve's own tests spell it."""
    later["wait_for_ready"] = _blocking
    return run(target, False, name, route_prefix, logging_config, **later)


@dataclass(frozen=True)
class RunTarget:
    """One of the apps that `run_many` takes."""

    target: Application
    name: str = "default"
    route_prefix: str | None = "/"
    logging_config: Any = None
    external_scaler_enabled: bool = False


def run_many(
    targets: Sequence[RunTarget],
    blocking: bool = False,
    wait_for_ingress_deployment_creation: bool = True,  # noqa: ARG001 - deploying waits for that
    wait_for_applications_running: bool = True,
    _local_testing_mode: bool = False,
    controller_options: ControllerOptions | dict[str, Any] | None = None,
    **later: Any,
) -> list[DeploymentHandle[Any]]:
    """`run` for several apps, which start side by side; their handles in the same order."""
    _refuse_later(later, run_many)
    controller = read_controller_options(controller_options)
    wait_for_ready = wait_for_applications_running
    return _run_apps(targets, blocking, wait_for_ready, _local_testing_mode, controller)


def _run_many(targets: Sequence[RunTarget], **options: Any) -> list[DeploymentHandle[Any]]:
    """`run_many`, as Ray Serve's own tests spell it."""
    return run_many(targets, **options)


def _run_apps(
    targets: Sequence[RunTarget],
    blocking: bool,
    wait_for_ready: bool,
    inline: bool,
    controller: ControllerOptions | None,
) -> list[DeploymentHandle[Any]]:
    _check_targets(targets)
    inline = inline or Settings.read().local_testing
    specs = [_spec(app, inline) for app in targets]
    if session.only_builds:
        return [_built(spec) for spec in specs]
    if inline:
        if session.grpc_address:
            raise NotImplementedError(
                "grpc_options: an app in local testing mode has no gRPC door. Call its methods by "
                "the handle, or run it without that mode."
            )
        return [session.inline(spec) for spec in specs]
    session.start_if_needed(default_http(), controller)
    for spec, app in zip(specs, targets, strict=True):
        session.deploy(spec, app.target)
    if wait_for_ready:
        for spec in specs:
            _wait(spec.name)
    handles = [session.handle(spec.ingress.id) for spec in specs]
    if blocking:
        _stay()
    return handles


def _check_targets(targets: Sequence[RunTarget]) -> None:
    if not targets:
        raise ValueError("No applications provided. run_many() takes at least one RunTarget.")
    if len({app.name for app in targets}) < len(targets):
        raise ValueError("Two of these targets have the same name. Give each RunTarget its own.")
    for app in targets:
        _refuse_later({name: getattr(app, name) for name in _LATER if hasattr(app, name)}, run)
        check_target(app.target, app.name, app.route_prefix)


def _spec(app: RunTarget, inline: bool) -> AppSpec:
    if not inline:
        mark_programs()
    changes = Changes(environment=RuntimeEnv(session.env_vars), inline=inline)
    spec = build(app.target, app.name, app.route_prefix, changes)
    return spec.with_logging(read_logging(app.logging_config))


def _built(spec: AppSpec) -> DeploymentHandle[Any]:
    _logger.warning(
        "run() runs nothing: what makes app %s is imported only to be built.", spec.name
    )
    return DeploymentHandle(spec.ingress.id, _NOWHERE)


def _stay() -> None:
    try:
        session.stay()
    except KeyboardInterrupt:
        _logger.warning("Interrupted: the apps stop with this program, or by shutdown().")
        raise


def delete(name: str, _blocking: bool = True) -> None:
    """Stop an app and return when it is gone. An unknown name changes nothing."""
    session.delete(name, wait=_blocking)


def shutdown() -> None:
    """Stop every app and everything that `run` or `start` has started."""
    session.close()


async def shutdown_async() -> None:
    """`shutdown` for code on an event loop, which goes on meanwhile."""
    await session.close_async()


def status() -> ServeStatus:
    """Apps, deployments and replicas as they are; empty when nothing runs."""
    return session.status()


def get_app_handle(name: str) -> DeploymentHandle[Any]:
    """The handle of a running app's ingress."""
    handle = session.app_handle(name)
    if handle is None:
        raise SalverError(f"No app named {name!r} runs. `salver.status()` tells which ones do.")
    return handle


def get_deployment_handle(
    deployment_name: str,
    app_name: str | None = None,
    _check_exists: bool = True,
    _record_telemetry: bool = True,  # nothing is ever recorded
) -> DeploymentHandle[Any]:
    """The handle of any deployment of a running app; within a replica, of its own app."""
    replica = current_replica.get(None)
    if app_name is None and replica is None:
        raise SalverError(
            "get_deployment_handle() needs app_name here: only code in a replica has an app of its "
            "own."
        )
    wanted = DeploymentId(deployment_name, app_name or (replica.app_name if replica else ""))
    if _check_exists and not session.has(wanted):
        raise KeyError(
            f"No deployment {deployment_name!r} in app {wanted.app!r}. `salver.status()` tells "
            "which there are."
        )
    return session.handle(wanted)


def get_replica_context() -> ReplicaContext:
    """Which replica the running code belongs to."""
    context = current_replica.get(None)
    if context is None:
        raise SalverError("get_replica_context() only works in code that runs in a replica.")
    if context.replica_id.deployment_id.owner is not None:
        raise SalverError(
            "get_replica_context() only works in a replica, and this is a deployment actor: "
            "get_deployment_actor_context() tells which."
        )
    return context


def get_deployment_actor(actor_name: str) -> DeploymentHandle[Any]:
    """The handle of an object that the deployment's replicas share; only in one of them.

    Ray Serve's is called and awaited alike: `await actor.method.remote(...)`.
    """
    context = get_replica_context()
    if actor_name not in context.companions:
        known = ", ".join(map(repr, context.companions)) or "none"
        raise ValueError(
            f"Deployment {context.deployment} has no deployment actor {actor_name!r}. "
            f"Those of its deployment_actors: {known}."
        )
    own = context.replica_id.deployment_id
    return session.handle(own.companion(actor_name, context.code_version))


def get_deployment_actor_context() -> DeploymentActorContext:
    """Which deployment actor the running code is of."""
    context = current_replica.get(None)
    owner = context.replica_id.deployment_id.owner if context is not None else None
    if context is None or owner is None:
        raise SalverError("get_deployment_actor_context() only works in a deployment actor's code.")
    return DeploymentActorContext(*owner, context.code_version)


def get_trace_context() -> dict[str, str] | None:
    """The span that the current call belongs to. None: calls are not traced."""
    return None


def get_multiplexed_model_id() -> str:
    """The model that the current call asks for; empty when it asks for none."""
    call = current_call.get()
    return call.model_id if call is not None else ""


def _wait(name: str) -> None:
    seen = session.wait(name)
    if seen.status is not ApplicationStatus.RUNNING:
        raise DeployFailedError(name, seen.message)


def _refuse_later(given: dict[str, Any], function: Callable[..., Any]) -> None:
    for name, value in given.items():
        if name in ("host", "port", "http_host", "http_port", "http_middlewares"):
            raise ValueError(
                f"{name}={value!r}: options of the HTTP door go into start(http_options={{...}})."
            )
        if name not in _LATER:
            known = [each for each in inspect.signature(function).parameters if each != "later"]
            raise TypeError(unknown(name, known, f"an argument of {function.__name__}()"))
        if value not in (None, False):
            raise NotImplementedError(
                f"{name}={value!r}: not there yet in this version of Salver. Leave it out."
            )


_NOWHERE: Final = "(this program is only imported)"
_LATER = ("tracing_config", "external_scaler_enabled")
