"""The one table from errors to HTTP: of calls that failed before a replica, and behind one."""

from __future__ import annotations

import math
from typing import Final

from salver.errors import (
    BackPressureError,
    CapacityError,
    ConfigError,
    DeployFailedError,
    DeploymentUnavailableError,
    EngineError,
    EnvironmentFailedError,
    NoMethodError,
    ReplicaDiedError,
    ReplicaUnavailableError,
    RequestCancelledError,
    RequestTimeoutError,
    SalverError,
    TargetError,
    WireError,
    gRPCStatusError,
)

__all__ = ("STATUS_OF", "refusal", "wait_s")

# A class that is not here is answered as the nearest of its bases that is.
STATUS_OF: Final[dict[type[BaseException], int]] = {
    BackPressureError: 503,  # or the error's own status_code
    RequestCancelledError: 499,
    DeploymentUnavailableError: 503,
    ReplicaUnavailableError: 503,
    ReplicaDiedError: 502,
    RequestTimeoutError: 408,
    DeployFailedError: 503,
    WireError: 502,
    EngineError: 503,
    CapacityError: 503,
    TargetError: 500,
    NoMethodError: 500,
    gRPCStatusError: 500,
    EnvironmentFailedError: 500,
    ConfigError: 500,
    SalverError: 500,
    Exception: 500,
}


def refusal(error: BaseException) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    """The status, the text and the further headers that answer a failed call."""
    status = next((STATUS_OF[c] for c in type(error).__mro__ if c in STATUS_OF), 500)
    if isinstance(error, BackPressureError):
        return error.status_code, error.message, (("Retry-After", str(wait_s(error))),)
    if isinstance(error, SalverError):
        return status, str(error), ()
    return status, "Internal Server Error", ()


def wait_s(error: BackPressureError) -> int:
    """After how many seconds to come back."""
    return 1 if error.retry_after_s is None else max(0, math.ceil(error.retry_after_s))
