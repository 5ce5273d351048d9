"""`salver.serve.exceptions`: what Salver itself raises."""

from __future__ import annotations

from salver.errors import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestCancelledError,
    gRPCStatusError,
)
from salver.errors import SalverError as RayServeException

__all__ = (
    "BackPressureError",
    "DeploymentUnavailableError",
    "RayServeException",
    "ReplicaUnavailableError",
    "RequestCancelledError",
    "gRPCStatusError",
)
