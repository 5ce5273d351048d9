"""What test_scaling.py deploys."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from starlette.requests import Request

import salver
from salver.serve.autoscaling_policy import PrometheusQueryMixin
from salver.serve.config import AutoscalingContext
from tests.real.apps import Journal

QUICK: dict[str, Any] = {
    "upscale_delay_s": 0,
    "downscale_delay_s": 0.05,
    "look_back_period_s": 0.1,
}


@salver.deployment(
    max_ongoing_requests=8,
    autoscaling_config={**QUICK, "max_replicas": 5, "target_ongoing_requests": 4},
)
class Elastic:
    """Notes each request before it does anything else, then takes its time."""

    def __init__(self, journal: str) -> None:
        self.note = Journal(journal)

    async def __call__(self, request: Request) -> str:
        name = request.query_params["id"]
        self.note("begun", name)
        await asyncio.sleep(0.01)
        return name


@salver.deployment(
    max_ongoing_requests=1,
    autoscaling_config={**QUICK, "min_replicas": 0, "max_replicas": 2},
)
class Resting:
    """Is not there until it is asked; its constructor waits for a word through a pipe."""

    def __init__(self, journal: str, gate: str = "") -> None:
        self.note = Journal(journal)
        self.note("constructing")
        if gate:
            Path(gate).read_text()

    async def __call__(self, request: Request) -> str:
        self.note("begun", request.query_params["id"])
        return "here"

    async def called(self) -> str:
        return "called"


def as_many_as_they_say(ctx: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """The largest of what replicas ask for."""
    wanted = ctx.aggregated_metrics.get("wanted", {})
    return max(wanted.values(), default=1), {}


@salver.deployment
class Asking:
    """Says itself how many it should be; where it is told to, wrongly."""

    def __init__(self, wanted: Any) -> None:
        self.wanted = wanted

    def __call__(self) -> str:
        return "here"

    def record_autoscaling_stats(self) -> Any:
        return {"wanted": self.wanted}


class AsTold:
    """As many replicas as its controller's variable says; notes which controller it is in."""

    def __init__(self, journal: str) -> None:
        self.wanted = os.environ.get("WANTED", "1")
        Journal(journal)("controller", os.getpid(), self.wanted)

    def __call__(self, ctx: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        return float(self.wanted), {}


class Backlog(PrometheusQueryMixin):
    """As many replicas as Prometheus says."""

    def __init__(self, query: str, **options: Any) -> None:
        super().__init__(prometheus_queries=[query], **options)
        self.query = query

    def __call__(self, ctx: AutoscalingContext) -> tuple[float, dict[str, Any]]:
        wanted = (self.prometheus_metrics or {}).get(self.query)
        return ctx.target_num_replicas if wanted is None else wanted, {}
