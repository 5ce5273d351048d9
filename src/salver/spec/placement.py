"""Where replicas may run, as Ray Serve's users say it, and what of it one machine can do.

A replica has all that its bundles ask for together. Labels, strategies and limits per node choose
among machines: there is one, so whatever they say it is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from msgspec import Meta

if TYPE_CHECKING:
    from salver.spec.options import DeploymentOptions
from salver.spec.model import ConfigModel

__all__ = (
    "GangPlacementStrategy",
    "GangRuntimeFailurePolicy",
    "GangSchedulingConfig",
    "check_named",
    "check_placement",
    "total_of",
)

_RESTART: Final = {"change": "restart"}
_Amount = Annotated[float, Meta(ge=0)]

Bundles = Annotated[
    list[dict[str, _Amount]],
    Meta(
        description="Resources of one replica, in parts; the first one is its own process's. "
        "On one machine their sum counts.",
        extra=_RESTART,
    ),
]
Strategy = Annotated[
    Literal["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"] | None,
    Meta(description="How bundles lie on the machines of a cluster.", extra=_RESTART),
]
BundleLabels = Annotated[
    list[dict[str, str]],
    Meta(description="Labels of the machine of each bundle, in a cluster.", extra=_RESTART),
]
PerNode = Annotated[
    Annotated[int, Meta(ge=1, le=100)] | None,
    Meta(description="Most replicas on one machine of a cluster.", extra=_RESTART),
]
Accelerator = Annotated[
    str | None,
    Meta(description="Model of GPU, such as H100, that the machine must have.", extra=_RESTART),
]
Labels = Annotated[
    dict[str, str], Meta(description="Labels of a replica's machine, in a cluster.", extra=_RESTART)
]
Fallbacks = Annotated[
    list[dict[str, Any]],
    Meta(description="What else than label_selector will do, in a cluster.", extra=_RESTART),
]


class GangPlacementStrategy(StrEnum):
    """How a gang lies on the machines of a cluster."""

    PACK = "PACK"
    SPREAD = "SPREAD"


class GangRuntimeFailurePolicy(StrEnum):
    """What a member's death means for its gang."""

    RESTART_GANG = "RESTART_GANG"
    RESTART_REPLICA = "RESTART_REPLICA"


class GangSchedulingConfig(ConfigModel):
    """Replicas that start together or not at all, and end together."""

    gang_size: Annotated[int, Meta(ge=1)]
    gang_placement_strategy: GangPlacementStrategy = GangPlacementStrategy.PACK
    runtime_failure_policy: GangRuntimeFailurePolicy = GangRuntimeFailurePolicy.RESTART_GANG

    def __post_init__(self) -> None:
        self._check_fields()
        if self.runtime_failure_policy == GangRuntimeFailurePolicy.RESTART_REPLICA:
            raise NotImplementedError(
                "runtime_failure_policy='RESTART_REPLICA': a member alone cannot rejoin its gang. "
                "Leave it out: the whole gang is restarted."
            )


Gang = Annotated[
    GangSchedulingConfig | None,
    Meta(
        description="Replicas that start, serve and end in gangs of `gang_size`, each all or none.",
        extra=_RESTART,
    ),
]


# Said by options of their own, under which they are counted; `CPU` and `GPU` are bundles' words.
_NOT_NAMED: Final = {
    "CPU": "num_cpus", "GPU": "num_gpus",
    "num_cpus": "num_cpus", "num_gpus": "num_gpus", "memory": "memory",
}  # fmt: skip


def check_named(resources: Mapping[str, float]) -> None:
    """ValueError: a named resource is what an option of its own says."""
    for name, amount in resources.items():
        if name in _NOT_NAMED:
            raise ValueError(
                f"resources[{name!r}]={amount!r} is not valid: {_NOT_NAMED[name]} says that. "
                f"Give {_NOT_NAMED[name]} instead."
            )


def check_placement(options: DeploymentOptions) -> None:
    """ValueError: what is said of placement contradicts itself."""
    bundles = options.placement_group_bundles
    labels = options.placement_group_bundle_label_selector
    for name in ("placement_group_strategy", "placement_group_bundle_label_selector"):
        if getattr(options, name) and not bundles:
            raise ValueError(f"{name} needs placement_group_bundles. Give both, or neither.")
    if bundles and options.max_replicas_per_node is not None:
        raise ValueError(
            "max_replicas_per_node and placement_group_bundles exclude each other. Give one."
        )
    if len(labels) > 1 and len(labels) != len(bundles):
        raise ValueError(
            f"placement_group_bundle_label_selector has {len(labels)} entries for {len(bundles)} "
            "bundles: expected one for all, or one for each."
        )
    if bundles:
        _check_first(options, bundles[0])
    if options.gang_scheduling_config is not None:
        _check_gang(options, options.gang_scheduling_config)


def _check_first(options: DeploymentOptions, first: Mapping[str, float]) -> None:
    own = {"CPU": options.num_cpus or 0.0, "GPU": options.num_gpus, "memory": options.memory}
    for name, amount in (own | options.resources).items():
        if amount > first.get(name, 0.0):
            raise ValueError(
                f"A replica asks for {name}={amount:g}, and its own bundle, the first of "
                f"placement_group_bundles, has {first.get(name, 0.0):g}. Make that one larger."
            )


def _check_gang(options: DeploymentOptions, gang: GangSchedulingConfig) -> None:
    for name in ("max_replicas_per_node", "placement_group_strategy"):
        if getattr(options, name) is not None:
            raise ValueError(f"{name} and gang_scheduling_config exclude each other.")
    for name, number in _numbers(options):
        if number is not None and number % gang.gang_size:
            raise ValueError(
                f"{name}={number} is not a multiple of gang_size={gang.gang_size}, as "
                "gang_scheduling_config needs it to be."
            )


def _numbers(options: DeploymentOptions) -> Iterable[tuple[str, int | None]]:
    scales = options.autoscaling_config
    if scales is None:
        return [("num_replicas", options.num_replicas)]
    names = ("min_replicas", "max_replicas", "initial_replicas")
    return [(name, getattr(scales, name)) for name in names]


def total_of(bundles: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """All bundles together."""
    total: dict[str, float] = {}
    for bundle in bundles:
        for name, amount in bundle.items():
            total[name] = total.get(name, 0.0) + amount
    return total
