"""`salver.serve.config`: how an instance is started."""

from __future__ import annotations

from salver.spec.autoscaling import (
    AggregationFunction,
    AutoscalingConfig,
    AutoscalingContext,
    AutoscalingPolicy,
)
from salver.spec.backpressure import BackpressureConfig
from salver.spec.companions import DeploymentActorConfig
from salver.spec.controller import ControllerOptions
from salver.spec.familiar import HTTPOptions, ProxyLocation
from salver.spec.grpc import gRPCOptions
from salver.spec.ids import DeploymentId as DeploymentID
from salver.spec.logging import LoggingConfig
from salver.spec.placement import (
    GangPlacementStrategy,
    GangRuntimeFailurePolicy,
    GangSchedulingConfig,
)
from salver.spec.routing import RequestRouterConfig

__all__ = (
    "AggregationFunction",
    "AutoscalingConfig",
    "AutoscalingContext",
    "AutoscalingPolicy",
    "BackpressureConfig",
    "ControllerOptions",
    "DeploymentActorConfig",
    "DeploymentID",
    "GangPlacementStrategy",
    "GangRuntimeFailurePolicy",
    "GangSchedulingConfig",
    "HTTPOptions",
    "LoggingConfig",
    "ProxyLocation",
    "RequestRouterConfig",
    "gRPCOptions",
)
