"""`salver.serve.schema`: what `status()` returns, and a configuration file as objects."""

from __future__ import annotations

from typing import Final, NoReturn

from salver.replica.context import ReplicaRank
from salver.spec.logging import EncodingType, LoggingConfig
from salver.spec.schemas import (
    DeploymentSchema,
    HTTPOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
    gRPCOptionsSchema,
)
from salver.spec.status import (
    ApplicationStatus,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ProxyStatus,
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
    "DeploymentSchema",
    "DeploymentStatus",
    "DeploymentStatusOverview",
    "DeploymentStatusTrigger",
    "EncodingType",
    "HTTPOptionsSchema",
    "LoggingConfig",
    "ProxyStatus",
    "ReplicaRank",
    "ReplicaState",
    "ServeApplicationSchema",
    "ServeDeploySchema",
    "ServeStatus",
    "TaskProcessorAdapter",
    "TaskProcessorConfig",
    "TaskResult",
    "gRPCOptionsSchema",
)

# What Ray Serve's dashboard answers by HTTP, and is asked.
_OPERATED: Final = (
    "APIType",
    "ApplicationDetails",
    "AutoscalingStatus",
    "ControllerHealthMetrics",
    "DeploymentAutoscalingDetail",
    "DeploymentDetails",
    "DeploymentNode",
    "DeploymentTopology",
    "ProxyDetails",
    "ReplicaDetails",
    "ScaleDeploymentRequest",
    "ScalingDecision",
    "ServeActorDetails",
    "ServeInstanceDetails",
    "Target",
    "TargetGroup",
)


def __getattr__(name: str) -> NoReturn:
    """What is known and not there says so where it is imported."""
    if name in _OPERATED:
        raise ImportError(
            f"{name} is not there in this version of Salver: it belongs to the REST interface, "
            "which comes with the operated service. `salver.status()` tells what runs."
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
