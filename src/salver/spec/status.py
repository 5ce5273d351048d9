"""What is: states as observed, in the shapes that Ray Serve's users know, and what routers need."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from salver.spec.backpressure import BackpressureConfig
from salver.spec.ids import DeploymentId
from salver.spec.learnt import learnt
from salver.spec.routing import RequestRouterConfig

__all__ = (
    "AppStatus",
    "ApplicationStatus",
    "Delta",
    "DeploymentStatus",
    "DeploymentStatusOverview",
    "DeploymentStatusTrigger",
    "DeploymentView",
    "Event",
    "Load",
    "ModelView",
    "ProxyStatus",
    "ReplicaFacts",
    "ReplicaState",
    "ReplicaView",
    "RouteView",
    "ServeStatus",
    "in_one_line",
)

_TRACEBACK: Final = "Traceback (most recent call last):"


class ApplicationStatus(StrEnum):
    NOT_STARTED = "NOT_STARTED"
    DEPLOYING = "DEPLOYING"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    RUNNING = "RUNNING"
    UNHEALTHY = "UNHEALTHY"
    DELETING = "DELETING"


class DeploymentStatus(StrEnum):
    UPDATING = "UPDATING"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    UPSCALING = "UPSCALING"
    DOWNSCALING = "DOWNSCALING"


class DeploymentStatusTrigger(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    CONFIG_UPDATE_STARTED = "CONFIG_UPDATE_STARTED"
    CONFIG_UPDATE_COMPLETED = "CONFIG_UPDATE_COMPLETED"
    UPSCALE_COMPLETED = "UPSCALE_COMPLETED"
    DOWNSCALE_COMPLETED = "DOWNSCALE_COMPLETED"
    AUTOSCALING = "AUTOSCALING"
    REPLICA_STARTUP_FAILED = "REPLICA_STARTUP_FAILED"
    DEPLOYMENT_ACTOR_FAILED = "DEPLOYMENT_ACTOR_FAILED"
    HEALTH_CHECK_FAILED = "HEALTH_CHECK_FAILED"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    DELETING = "DELETING"


class ProxyStatus(StrEnum):
    """How a door is; on one machine it is HEALTHY, or UNHEALTHY if it does not start."""

    STARTING = "STARTING"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"


class ReplicaState(StrEnum):
    STARTING = "STARTING"
    UPDATING = "UPDATING"
    RECOVERING = "RECOVERING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"
    PENDING_MIGRATION = "PENDING_MIGRATION"  # of a cluster


class DeploymentStatusOverview(msgspec.Struct, frozen=True):
    status: DeploymentStatus
    status_trigger: DeploymentStatusTrigger
    replica_states: dict[ReplicaState, int]
    message: str = ""


class AppStatus(msgspec.Struct, frozen=True):
    """Ray Serve calls this ApplicationStatusOverview."""

    status: ApplicationStatus
    message: str
    last_deployed_time_s: float
    deployments: dict[str, DeploymentStatusOverview]


class ServeStatus(msgspec.Struct, frozen=True):
    """Everything that runs, at one moment."""

    proxies: dict[str, ProxyStatus] = {}
    applications: dict[str, AppStatus] = {}
    target_capacity: float | None = None


class Event(msgspec.Struct, frozen=True):
    """One change of state, for people to read: `salver run` prints these."""

    at: float
    subject: str  # "app#deployment#replica", "app", "ingress"
    state: str
    message: str = ""


def in_one_line(message: str) -> str:
    """Of a traceback the error, which its first line does not tell."""
    lines = message.splitlines() or [""]
    start, traceback, _ = lines[0].partition(_TRACEBACK)
    if not traceback:
        return lines[0] + (f" (+{len(lines) - 1} lines)" if lines[1:] else "")
    flush = (line for line in lines[1:] if line and not line.startswith((" ", _TRACEBACK)))
    return start + next(flush, _TRACEBACK)


# ---- what routers and doors are told


class ReplicaView(msgspec.Struct, frozen=True):
    id: str
    address: str  # "unix:/path" or "memory:name"


class DeploymentView(msgspec.Struct, frozen=True):
    """A deployment as a router sees it. `gone` says why no call will ever be served.

    `report_s`: its load is to be told, at least so often; 0: nobody wants to know.
    """

    id: DeploymentId
    max_ongoing_requests: int
    max_queued_requests: int
    replicas: tuple[ReplicaView, ...] = ()
    gone: str = ""
    ingress: bool = False
    backpressure: BackpressureConfig = BackpressureConfig()
    report_s: float = 0.0
    routing: RequestRouterConfig | None = None  # None: the least loaded replica


class Load(msgspec.Struct, frozen=True, array_like=True):
    """What one router has at hand: a router's word to the controller."""

    deployment: DeploymentId
    queued: int
    running: int
    calls: int = 0  # that came since its last word


class ReplicaFacts(msgspec.Struct, frozen=True):
    """What a replica says of itself to those who choose between replicas, as often as it changes.

    `models`: those that it holds or is loading. `room`: how many it may hold; -1: any number; 0: it
    is not multiplexed. `stats` and `metadata`: what the user's hooks of these names return.
    """

    replica: str
    models: tuple[str, ...] = ()
    room: int = 0
    stats: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class RouteView(msgspec.Struct, frozen=True):
    prefix: str
    app: str
    deployment: DeploymentId


class ModelView(msgspec.Struct, frozen=True):
    """One model of the inference protocols, and the deployment that answers for it."""

    name: str
    version: str
    deployment: DeploymentId
    method: str
    withheld: bool = False  # a client has unloaded it
    wakes: bool = False  # without a replica it is ready all the same: a call starts one


@learnt
class Delta(msgspec.Struct, frozen=True):
    """What changed since the last one; `routes` and `models` are whole tables, if there.

    `up`: of the apps that were wanted first every one runs or has failed, and one of them runs.
    """

    version: int
    deployments: tuple[DeploymentView, ...] = ()
    routes: tuple[RouteView, ...] | None = None
    full: bool = False  # forget everything known before
    models: tuple[ModelView, ...] | None = None
    facts: tuple[ReplicaFacts, ...] = ()
    up: bool = False
