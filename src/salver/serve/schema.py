"""`salver.serve.schema`: what `status()` returns."""

from __future__ import annotations

from salver.replica.context import ReplicaRank
from salver.spec.logging import EncodingType, LoggingConfig
from salver.spec.status import (
    ApplicationStatus,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ReplicaState,
    ServeStatus,
)
from salver.spec.status import AppStatus as ApplicationStatusOverview

__all__ = (
    "ApplicationStatus",
    "ApplicationStatusOverview",
    "DeploymentStatus",
    "DeploymentStatusOverview",
    "DeploymentStatusTrigger",
    "EncodingType",
    "LoggingConfig",
    "ReplicaRank",
    "ReplicaState",
    "ServeStatus",
)
