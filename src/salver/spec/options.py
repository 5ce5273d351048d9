"""Every option of a deployment, once: its name, type, default, bounds and what it means."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from salver.spec.autoscaling import AutoscalingConfig
from salver.spec.backpressure import BackpressureConfig
from salver.spec.companions import Companions, check_companions
from salver.spec.environment import EnvVars, Pip, PyModules, WorkingDir
from salver.spec.logging import LoggingConfig
from salver.spec.placement import (
    Accelerator,
    BundleLabels,
    Bundles,
    Fallbacks,
    Gang,
    Labels,
    PerNode,
    Strategy,
    check_placement,
)
from salver.spec.routing import RequestRouterConfig
from salver.spec.structs import meta

__all__ = ("DeploymentOptions", "change_of", "description")

# What a change of an option asks of the replicas that run.
NOTHING: Final = {"change": "nothing"}  # the controller or the callers act on it
RECONFIGURE: Final = {"change": "reconfigure"}  # they are told, and go on
RESTART: Final = {"change": "restart"}  # they cannot be taught, and are replaced


class DeploymentOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a deployment asks for. The decorator, `.options()` and files all end here."""

    num_replicas: Annotated[
        int,
        Meta(
            gt=0,
            description='Copies that run; "auto" or an autoscaling_config: as the load wants.',
            extra=NOTHING,
        ),
    ] = 1
    autoscaling_config: Annotated[
        AutoscalingConfig | None,
        Meta(description="How the number of copies follows the load.", extra=NOTHING),
    ] = None
    max_ongoing_requests: Annotated[
        int,
        Meta(
            gt=0,
            description="Requests that one replica works on at a time.",
            extra=RECONFIGURE,
        ),
    ] = 5
    max_queued_requests: Annotated[
        int,
        Meta(
            ge=-1,
            description="Requests that wait in each caller; -1: no bound.",
            extra=NOTHING,
        ),
    ] = -1
    request_router_config: Annotated[
        RequestRouterConfig | None,
        Meta(description="How callers choose a replica. None: the less loaded.", extra=NOTHING),
    ] = None
    backpressure_config: Annotated[
        BackpressureConfig,
        Meta(
            description="The answer to a request for which the queue has no room: "
            "its `status_code` (503 or 429) and `retry_after_s`.",
            extra=NOTHING,
        ),
    ] = BackpressureConfig()
    user_config: Annotated[
        Any, Meta(description="Passed to the object's `reconfigure`.", extra=RECONFIGURE)
    ] = None
    num_cpus: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(
            description="CPUs of one replica. None: one thread, held back by none.",
            extra=RESTART,
        ),
    ] = None
    num_gpus: Annotated[
        float, Meta(ge=0, description="GPUs of one replica; may be a share.", extra=RESTART)
    ] = 0.0
    memory: Annotated[
        float, Meta(ge=0, description="Bytes that one replica asks for.", extra=RESTART)
    ] = 0.0
    resources: Annotated[
        dict[str, Annotated[float, Meta(ge=0)]],
        Meta(description="Named resources.", extra=RESTART),
    ] = {}
    env_vars: EnvVars = {}
    working_dir: WorkingDir = None
    py_modules: PyModules = []
    pip: Pip = None
    logging_config: Annotated[
        LoggingConfig | None,
        Meta(
            description="How its replicas log. None: as the app, or else the instance, says.",
            extra=RECONFIGURE,
        ),
    ] = None
    startup_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            description="How long a replica may wait for its resources and start.",
            extra=NOTHING,
        ),
    ] = 600.0
    max_constructor_retry_count: Annotated[
        int,
        Meta(
            gt=0,
            description="Failed starts in a row before the deployment has failed; "
            "at its default, at most three for each replica.",
            extra=NOTHING,
        ),
    ] = 20
    health_check_period_s: Annotated[
        float,
        Meta(gt=0, description="Time between two checks of a replica's health.", extra=NOTHING),
    ] = 10.0
    health_check_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            description="How long `check_health` may take before it has failed.",
            extra=NOTHING,
        ),
    ] = 30.0
    graceful_shutdown_wait_loop_s: Annotated[
        float,
        Meta(
            ge=0,
            description="Ray Serve's pause between two looks whether a replica is idle. "
            "Here nobody has to look: one that has nothing left to do ends at once.",
            extra=NOTHING,
        ),
    ] = 2.0
    graceful_shutdown_timeout_s: Annotated[
        float,
        Meta(
            ge=0,
            description="How long a stopping replica may finish its requests.",
            extra=NOTHING,
        ),
    ] = 20.0

    rolling_update_percentage: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Share of the replicas, one at least, that take a new configuration, or "
            "are exchanged where there is no room for old beside new, at a time.",
            extra=NOTHING,
        ),
    ] = 0.2
    max_surge_percent: Annotated[
        Annotated[int, Meta(ge=0, le=100)] | None,
        Meta(
            description="How many more replicas than `num_replicas` an update may run, in percent "
            "of them; old and new serve side by side meanwhile. 0: old ones stop first, "
            "rolling_update_percentage of them at a time. None: all new ones start beside the old, "
            "and take over at one moment.",
            extra=NOTHING,
        ),
    ] = None
    placement_group_bundles: Bundles = []
    placement_group_strategy: Strategy = None
    placement_group_bundle_label_selector: BundleLabels = []
    max_replicas_per_node: PerNode = None
    accelerator_type: Accelerator = None
    label_selector: Labels = {}
    fallback_strategy: Fallbacks = []
    gang_scheduling_config: Gang = None
    deployment_actors: Companions = []

    def __post_init__(self) -> None:
        check_placement(self)
        check_companions(self.deployment_actors)

    @property
    def gang_size(self) -> int:
        """So many replicas start, serve and end together."""
        gang = self.gang_scheduling_config
        return gang.gang_size if gang is not None else 1


def description(name: str) -> str:
    """What an option means, in a sentence."""
    return meta(DeploymentOptions, name).description or ""


def change_of(name: str) -> str:
    """What a change of this option asks of living replicas: nothing, reconfigure, restart."""
    return str((meta(DeploymentOptions, name).extra or {})["change"])
