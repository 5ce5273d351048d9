"""The tree of errors: data first, sentence second; protocol numbers are in `spec/refusals.py`.

    SalverError                     (public name in the drop-in spelling: RayServeException)
    |-- BackPressureError           the queue in front of a deployment is full
    |-- RequestCancelledError       awaited a call that was cancelled
    |-- DeploymentUnavailableError  no replica left and none will come, or the deployment is gone
    |-- ReplicaUnavailableError     the chosen replica is gone
    |   `-- ReplicaDiedError        ... and it died while it worked on this very call
    |-- RequestTimeoutError         one of the six time limits passed (also a TimeoutError)
    |-- DeployFailedError           an app could not be brought up (also a RuntimeError)
    |-- WireError                   bytes between processes that make no sense, or no secret
    |-- EngineError                 a process could not be started
    |   `-- CapacityError           ... for want of CPUs, GPUs or named resources
    |-- EnvironmentFailedError      a `runtime_env` could not be made
    |-- ConfigError                 a configuration file is wrong, in one or more places
    |-- gRPCStatusError             user code's own status for the client of a gRPC call
    |-- NoMethodError               the deployment has no such method
    `-- TargetError                 what was asked to run cannot be found or imported

Every error can be pickled: its fields are its constructor's arguments.
"""

from __future__ import annotations

import contextlib
import copy
from dataclasses import dataclass
from typing import Any, TypeVar

__all__ = (
    "BackPressureError",
    "CapacityError",
    "ConfigError",
    "DeployFailedError",
    "DeploymentUnavailableError",
    "EngineError",
    "EnvironmentFailedError",
    "NoMethodError",
    "Problem",
    "ReplicaDiedError",
    "ReplicaUnavailableError",
    "RequestCancelledError",
    "RequestTimeoutError",
    "SalverError",
    "TargetError",
    "WireError",
    "gRPCStatusError",
    "twin_of",
)

E = TypeVar("E", bound=BaseException)


class SalverError(Exception):
    """Base of everything that Salver itself raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {k: v for k, v in self.__dict__.items() if not k.startswith("__")}
        return _rebuild, (type(self), self.args, fields)


def _rebuild(cls: type[SalverError], args: tuple[Any, ...], fields: dict[str, Any]) -> SalverError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(fields)
    return error


class BackPressureError(SalverError):
    """The caller's queue in front of a deployment is full; nothing was started."""

    def __init__(
        self,
        num_queued_requests: int,
        max_queued_requests: int,
        status_code: int = 503,
        retry_after_s: float | None = None,
    ) -> None:
        self.num_queued_requests = num_queued_requests
        self.max_queued_requests = max_queued_requests
        self.status_code = status_code
        self.retry_after_s = retry_after_s
        super().__init__(self.message)

    @property
    def message(self) -> str:
        return (
            "Request dropped due to backpressure "
            f"(num_queued_requests={self.num_queued_requests}, "
            f"max_queued_requests={self.max_queued_requests})."
        )


class RequestCancelledError(SalverError):
    """The call was cancelled before it had a result."""

    def __init__(self, request_id: str = "") -> None:
        self.request_id = request_id
        super().__init__(f"Request {request_id} was cancelled.")


class DeploymentUnavailableError(SalverError):
    """The deployment has no replica and will get none, or it was deleted."""

    def __init__(self, deployment_id: object, message: str = "") -> None:
        self.deployment_id = deployment_id
        self.message = message or f"Deployment {deployment_id} is unavailable."
        super().__init__(self.message)


class ReplicaUnavailableError(SalverError):
    """The replica that was to take this call is gone; the call had not begun."""

    def __init__(self, replica_id: str, message: str = "") -> None:
        self.replica_id = replica_id
        self.message = message or f"Replica {replica_id} is gone."
        super().__init__(self.message)


class ReplicaDiedError(ReplicaUnavailableError):
    """The replica died while it worked on this call; whether it finished is unknown."""

    def __init__(self, replica_id: str, cause: str = "") -> None:
        why = f" ({cause})" if cause else ""
        super().__init__(
            replica_id,
            f"Replica {replica_id} died while it worked on this request{why}. "
            "The request was not repeated because it may have had effects.",
        )


class RequestTimeoutError(SalverError, TimeoutError):
    """A time limit passed; the message names the setting that sets it."""

    def __init__(self, limit_s: float, setting: str, request_id: str = "") -> None:
        self.limit_s = limit_s
        self.setting = setting
        self.request_id = request_id
        super().__init__(
            f"Request {request_id} timed out after {limit_s:g}s. (The limit is {setting}.)"
        )


class DeployFailedError(SalverError, RuntimeError):
    """An app could not be brought up."""

    def __init__(self, app: str, message: str) -> None:
        self.app = app
        self.message = message
        super().__init__(f"Deploying application {app} failed: {message}")


class WireError(SalverError):
    """A peer sent bytes that make no sense, or did not prove the secret."""


class EngineError(SalverError):
    """A process could not be started or stopped."""


class CapacityError(EngineError):
    """This machine has not got what the process needs; waiting may help."""


class TargetError(SalverError):
    """What was asked to run cannot be found or imported."""


class NoMethodError(SalverError):
    """A method was called that the deployment does not have."""


class gRPCStatusError(SalverError):  # noqa: N801 - the name that users of Ray Serve know
    """Raised in a method that serves gRPC: the call is answered with this status code."""

    def __init__(
        self, original_exception: BaseException | None, grpc_code: Any, grpc_details: str | None
    ) -> None:
        self.original_exception = original_exception
        self.grpc_code = grpc_code
        self.grpc_details = grpc_details
        super().__init__(grpc_details or str(original_exception or ""))


def twin_of(error: E) -> E:
    """The same error once more, for somebody else to raise: a traceback grows where it is raised.

    The error itself, if its type makes no copies.
    """
    kind = type(error)
    twin = error
    with contextlib.suppress(Exception):  # some types have no constructor
        if kind.__module__ == "builtins":
            twin = copy.copy(error)
        else:  # its constructor may take something else than `args`
            twin = kind.__new__(kind, *error.args)
            twin.args = error.args
            twin.__dict__.update(error.__dict__)
    if type(twin) is not kind:
        return error
    if hasattr(error, "__notes__"):
        twin.__notes__ = list(error.__notes__)
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(error.__traceback__)


class EnvironmentFailedError(SalverError):
    """The folders, modules or packages of a `runtime_env` are not there or cannot be installed."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a file, and where: the path of keys, line and column from 1."""

    path: str
    message: str
    line: int = 1
    column: int = 1


class ConfigError(SalverError):
    """A configuration file is wrong; every problem that was found, in the order of the file."""

    def __init__(self, file: str, problems: list[Problem]) -> None:
        self.file = file
        self.problems = problems
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"{file} has {count}:"]
        for problem in problems:
            at = f" {problem.path}:" if problem.path else ""
            lines.append(f"  {file}:{problem.line}:{problem.column}:{at} {problem.message}")
        super().__init__("\n".join(lines))
