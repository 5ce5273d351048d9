"""`salver.serve.autoscaling_policy`: the rules by which deployments scale."""

from __future__ import annotations

from typing import NoReturn

from salver.core.autoscale import default_autoscaling_policy
from salver.spec.autoscaling import AutoscalingContext

__all__ = (
    "AutoscalingContext",
    "PrometheusQueryMixin",
    "default_autoscaling_policy",
    "replica_queue_length_autoscaling_policy",
)

replica_queue_length_autoscaling_policy = default_autoscaling_policy


class PrometheusQueryMixin:
    """Not there: subclassing it says what to do instead."""

    def __init_subclass__(cls) -> NoReturn:
        raise NotImplementedError(
            f"{cls.__name__}: PrometheusQueryMixin is not there in this version of Salver, which "
            "asks no other server for its decisions. Let the policy's class query Prometheus in "
            "`__call__` (it runs in a thread, with 5 s), or have replicas return the figures from "
            "`record_autoscaling_stats`."
        )
