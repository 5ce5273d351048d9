"""The few names of `ray` itself that serving programs touch: answered, or refused with a reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from salver import api
from salver.api import session
from salver.calls.response import DeploymentResponse
from salver.launch import Capacity, default_http
from salver.like.context import get_gpu_ids, get_runtime_context, nodes
from salver.like.tasks import ObjectRef, RemoteFunction, Threads
from salver.spec.environment import read_runtime_env
from salver.spec.mistakes import unknown

__all__ = (
    "ObjectRef",
    "available_resources",
    "cancel",
    "cluster_resources",
    "get",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "wait",
)

RAY_VERSION: Final = "2.60.0"  # whose names these are
_logger: Final = logging.getLogger("salver")
_threads = Threads()
# Of Ray's own processes, which there are none of.
_MEANINGLESS: Final = {
    "configure_logging", "dashboard_host", "dashboard_port", "ignore_reinit_error",
    "include_dashboard", "job_config", "log_to_driver", "logging_config", "logging_format",
    "logging_level", "namespace", "object_store_memory",
}  # fmt: skip
_CAPACITY: Final = ("num_cpus", "num_gpus", "resources")
_KNOWN: Final = (*_MEANINGLESS, *_CAPACITY, "address", "runtime_env", "local_mode")


def init(address: str | None = None, **options: Any) -> ClientContext:
    """Say what the instance that `serve.run` starts may share out. Nothing is started by this."""
    if address not in (None, "", "auto", "local"):
        raise NotImplementedError(
            f"ray.init(address={address!r}): there is no cluster to join. Leave the address out: "
            "Salver serves on this machine."
        )
    if options.pop("local_mode", False):
        _refuse("ray.init(local_mode=True)", "Use `serve.run(app, _local_testing_mode=True)`.")
    _set_environment(options.pop("runtime_env", None))
    asked = {name: options.pop(name) for name in _CAPACITY if options.get(name) is not None}
    for name in options:
        if name not in _KNOWN and not name.startswith("_"):
            raise TypeError(unknown(name, _KNOWN, "an argument of ray.init"))
    if options:
        names = ", ".join(sorted(options))
        _logger.info("ray.init: these are of Ray's own processes and mean nothing here: %s", names)
    if asked:
        session.capacity = Capacity(**asked)
    _threads.initialized = True
    return ClientContext()


def _set_environment(given: Any) -> None:
    """Variables go to all replicas; the folder is this one anyway."""
    env = read_runtime_env(given)
    if env.working_dir is not None and Path(env.working_dir).absolute() != Path.cwd():
        _refuse(f"ray.init: working_dir={env.working_dir!r}", "Start the program in that folder.")
    if env.pip or env.py_modules:
        _refuse("ray.init: pip and py_modules", "Give them to deployments: ray_actor_options.")
    session.env_vars = env.env_vars


class ClientContext:
    """What `init` returns; leaving it as a context ends what was started."""

    dashboard_url = ""
    address_info: Final[Mapping[str, str]] = {"node_ip_address": "127.0.0.1", "address": "local"}

    def disconnect(self) -> None:
        shutdown()

    def __enter__(self) -> ClientContext:
        return self

    def __exit__(self, *_: object) -> None:
        shutdown()


def shutdown(**_: Any) -> None:
    """End everything that was started from here."""
    _threads.initialized = False
    session.capacity, session.env_vars = Capacity(), {}
    api.shutdown()


def is_initialized() -> bool:
    """Whether `init` was called, or something runs."""
    return _threads.initialized or session.cluster() is not None


def get(refs: Any, *, timeout: float | None = None) -> Any:
    """The value of a response or of an ObjectRef; a list of values for a list."""
    if isinstance(refs, list | tuple):
        return [get(ref, timeout=timeout) for ref in refs]
    if isinstance(refs, ObjectRef):
        return refs.result(timeout)
    if isinstance(refs, DeploymentResponse):
        return refs.result(timeout_s=timeout)
    raise TypeError(f"ray.get({refs!r}): expected a response, an ObjectRef, or a list of them.")


def put(value: Any) -> ObjectRef:
    """The value, as something to pass on and to `get`. It stays in this process until it is."""
    return ObjectRef.of(value)


def wait(
    refs: Iterable[ObjectRef], *, num_returns: int = 1, timeout: float | None = None, **_: Any
) -> tuple[list[ObjectRef], list[ObjectRef]]:
    """The first that are done, and the others."""
    return ObjectRef.wait(list(refs), num_returns, timeout)


def cancel(ref: Any, **_: Any) -> None:
    """Cancel a response, or a task that has not begun."""
    ref.cancel()


def remote(*code: Any, **options: Any) -> Any:
    """`@ray.remote` on a function: its calls run in threads of this process."""
    if code:
        return RemoteFunction.of(code[0], _threads)
    return lambda function: RemoteFunction.of(function, _threads, options)


def cluster_resources() -> dict[str, float]:
    """What the instance may share out."""
    return _resources(0)


def available_resources() -> dict[str, float]:
    """What of it is free."""
    return _resources(1)


def _resources(which: int) -> dict[str, float]:
    session.start_if_needed(default_http())
    found = session.capacity_now()[which]
    named = {"CPU": found.num_cpus, "GPU": found.num_gpus, "memory": found.memory}
    return {name: value for name, value in {**named, **found.custom}.items() if value}


def _refuse(what: str, instead: str) -> NoReturn:
    raise NotImplementedError(f"{what} is not supported. {instead}")


_MODULES: Final = ("cloudpickle", "exceptions", "runtime_env", "serve", "util")
_REFUSED: Final = {
    "get_actor": "Processes by name are deployments here: serve.get_deployment_handle(name, app).",
    "kill": "Delete the app instead: serve.delete(name).",
    "method": "Methods of deployments need no decorator.",
    "timeline": "Requests are seen in the logs and at /-/metrics.",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"ray.{name}")
    if name in _REFUSED:
        return lambda *_args, **_options: _refuse(f"ray.{name}", _REFUSED[name])
    raise AttributeError(f"module 'ray' has no attribute {name!r} (Salver answers for it)")
