"""`ray.exceptions`: what arrives here has the type that users' code raised, or one of Salver's."""

from __future__ import annotations

from typing import NoReturn

from salver.errors import (
    EnvironmentFailedError,
    ReplicaDiedError,
    ReplicaUnavailableError,
    RequestCancelledError,
)
from salver.like.refusals import refuse_name

# Ray wraps what users' code raises; here it comes as it is, so `except RayTaskError` means all.
RayError = Exception
RayTaskError = Exception
RayActorError = ReplicaUnavailableError
ActorDiedError = ReplicaDiedError
ActorUnavailableError = ReplicaUnavailableError
TaskCancelledError = RequestCancelledError
GetTimeoutError = TimeoutError
RuntimeEnvSetupError = EnvironmentFailedError
WorkerCrashedError = ReplicaDiedError

__all__ = (
    "ActorDiedError",
    "ActorUnavailableError",
    "GetTimeoutError",
    "RayActorError",
    "RayError",
    "RayTaskError",
    "RuntimeEnvSetupError",
    "TaskCancelledError",
    "WorkerCrashedError",
)


def __getattr__(name: str) -> NoReturn:
    refuse_name("ray.exceptions", name)
