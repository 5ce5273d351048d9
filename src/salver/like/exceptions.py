"""`ray.exceptions`: what arrives here has the type that users' code raised, or one of Salver's."""

from __future__ import annotations

from salver.errors import (
    ReplicaDiedError,
    ReplicaUnavailableError,
    RequestCancelledError,
)

# Ray wraps what users' code raises; here it comes as it is, so `except RayTaskError` means all.
RayError = Exception
RayTaskError = Exception
RayActorError = ReplicaUnavailableError
ActorDiedError = ReplicaDiedError
ActorUnavailableError = ReplicaUnavailableError
TaskCancelledError = RequestCancelledError
GetTimeoutError = TimeoutError

__all__ = (
    "ActorDiedError",
    "ActorUnavailableError",
    "GetTimeoutError",
    "RayActorError",
    "RayError",
    "RayTaskError",
    "TaskCancelledError",
)
