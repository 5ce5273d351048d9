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
from salver.spec.tasks import CeleryAdapterConfig, TaskProcessorConfig, TaskResult
from salver.tasks.adapter import TaskProcessorAdapter

__all__ = (
    "ApplicationStatus",
    "ApplicationStatusOverview",
    "CeleryAdapterConfig",
    "DeploymentStatus",
    "DeploymentStatusOverview",
    "DeploymentStatusTrigger",
    "EncodingType",
    "LoggingConfig",
    "ReplicaRank",
    "ReplicaState",
    "ServeStatus",
    "TaskProcessorAdapter",
    "TaskProcessorConfig",
    "TaskResult",
)
