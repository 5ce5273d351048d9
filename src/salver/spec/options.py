"""Every option of a deployment, once: its name, type, default, bounds and what it means."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

__all__ = ("DeploymentOptions",)


class DeploymentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deployment asks for. The decorator, `.options()` and files all end here."""

    num_replicas: Annotated[int, Meta(gt=0, description="Copies that run.")] = 1
    max_ongoing_requests: Annotated[
        int, Meta(gt=0, description="Requests that one replica works on at a time.")
    ] = 5
    max_queued_requests: Annotated[
        int, Meta(ge=-1, description="Requests that wait in each caller; -1: no bound.")
    ] = -1
    user_config: Annotated[Any, Meta(description="Passed to the object's `reconfigure`.")] = None
    num_cpus: Annotated[
        float | None, Meta(description="CPUs of one replica. None: one thread, held back by none.")
    ] = None
    num_gpus: Annotated[float, Meta(ge=0, description="GPUs of one replica; may be a share.")] = 0.0
    memory: Annotated[float, Meta(ge=0, description="Bytes that one replica asks for.")] = 0.0
    resources: Annotated[dict[str, float], Meta(description="Named resources.")] = {}
    startup_timeout_s: Annotated[
        float, Meta(gt=0, description="How long a replica may wait for its resources and start.")
    ] = 600.0
    max_constructor_retry_count: Annotated[
        int, Meta(gt=0, description="Failed starts in a row before the deployment has failed.")
    ] = 20
    health_check_period_s: Annotated[float, Meta(gt=0)] = 10.0
    health_check_timeout_s: Annotated[float, Meta(gt=0)] = 30.0
    graceful_shutdown_wait_loop_s: Annotated[float, Meta(ge=0)] = 2.0
    graceful_shutdown_timeout_s: Annotated[
        float, Meta(ge=0, description="How long a stopping replica may finish its requests.")
    ] = 20.0
