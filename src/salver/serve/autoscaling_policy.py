"""`salver.serve.autoscaling_policy`: the rules by which deployments scale."""

from __future__ import annotations

from salver.control.prometheus import (
    PrometheusQueryMixin,
    PrometheusSample,
    PrometheusScalar,
    PrometheusVector,
)
from salver.core.autoscale import default_autoscaling_policy
from salver.spec.autoscaling import AutoscalingContext

__all__ = (
    "AutoscalingContext",
    "PrometheusQueryMixin",
    "PrometheusSample",
    "PrometheusScalar",
    "PrometheusVector",
    "default_autoscaling_policy",
    "replica_queue_length_autoscaling_policy",
)

replica_queue_length_autoscaling_policy = default_autoscaling_policy
