"""From what is known of an app to the status that people read."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Final

import msgspec

from salver.core.rollout import Known, Phase, Replica, Target, has_failed
from salver.spec.ids import DeploymentId
from salver.spec.status import (
    ApplicationStatus,
    DeploymentStatus,
    DeploymentStatusOverview,
    DeploymentStatusTrigger,
    ReplicaState,
)

__all__ = ("appraise_app", "appraise_deployment", "with_companions")

STATES: Final = {
    Phase.WAITING: ReplicaState.STARTING,
    Phase.QUEUED: ReplicaState.STARTING,
    Phase.LAUNCHING: ReplicaState.STARTING,
    Phase.ATTACHING: ReplicaState.STARTING,
    Phase.ATTACHED: ReplicaState.STARTING,
    Phase.STARTING: ReplicaState.STARTING,
    Phase.RUNNING: ReplicaState.RUNNING,
    Phase.UPDATING: ReplicaState.UPDATING,
    Phase.DRAINING: ReplicaState.STOPPING,
    Phase.DRAINED: ReplicaState.STOPPING,
    Phase.STOPPING: ReplicaState.STOPPING,
    Phase.KILLED: ReplicaState.STOPPING,
}


def appraise_deployment(
    target: Target | None, known: Known, shortages: Mapping[str, str], now: float
) -> DeploymentStatusOverview:
    """`shortages` says for each waiting replica what it asks for and what there is."""
    counts: dict[ReplicaState, int] = {}
    for replica in known.replicas:
        state = STATES[replica.phase]
        counts[state] = counts.get(state, 0) + 1
    status, trigger, message = _judge(target, known, shortages, now)
    return DeploymentStatusOverview(status, trigger, counts, message)


def with_companions(
    every: Mapping[DeploymentId, DeploymentStatusOverview], wanted: Container[DeploymentId]
) -> dict[DeploymentId, DeploymentStatusOverview]:
    """Users' deployments; one whose own actor is not well is not well either, and says so."""
    shown = {d: overview for d, overview in every.items() if d.owner is None}
    for companion, overview in every.items():
        if companion.owner is None or companion not in wanted:
            continue
        owner, name = companion.owner
        if overview.status is not DeploymentStatus.HEALTHY and owner in shown:
            shown[owner] = _hampered(shown[owner], name, overview)
    return shown


def _hampered(
    owner: DeploymentStatusOverview, name: str, companion: DeploymentStatusOverview
) -> DeploymentStatusOverview:
    failed = companion.status in (DeploymentStatus.DEPLOY_FAILED, DeploymentStatus.UNHEALTHY)
    if owner.status is DeploymentStatus.DEPLOY_FAILED or not (
        failed or owner.status is DeploymentStatus.HEALTHY
    ):
        return owner
    trigger = DeploymentStatusTrigger.DEPLOYMENT_ACTOR_FAILED
    return msgspec.structs.replace(
        owner,
        status=companion.status if failed else DeploymentStatus.UPDATING,
        status_trigger=trigger if failed else companion.status_trigger,
        message=f"deployment actor {name!r}: {companion.message}".rstrip(": "),
    )


def appraise_app(
    deployments: Mapping[str, DeploymentStatusOverview], *, deleting: bool
) -> tuple[ApplicationStatus, str]:
    """The worst of its deployments', and why."""
    if deleting:
        return ApplicationStatus.DELETING, ""
    for status, verdict in _WORST_FIRST:
        named = {n: d.message for n, d in deployments.items() if d.status is status}
        if named:
            return verdict, "; ".join(f"{n}: {m}" for n, m in named.items() if m)
    if all(_is_well(d) for d in deployments.values()):
        return ApplicationStatus.RUNNING, ""
    messages = (f"{n}: {d.message}" for n, d in deployments.items() if d.message)
    return ApplicationStatus.DEPLOYING, "; ".join(messages)


def _is_well(deployment: DeploymentStatusOverview) -> bool:
    """Following the load is what a healthy deployment does; and who is let go of is not missed."""
    scales = deployment.status_trigger is DeploymentStatusTrigger.AUTOSCALING
    well = (DeploymentStatus.HEALTHY, DeploymentStatus.DOWNSCALING)
    return scales or deployment.status in well


_WORST_FIRST: Final = (
    (DeploymentStatus.DEPLOY_FAILED, ApplicationStatus.DEPLOY_FAILED),
    (DeploymentStatus.UNHEALTHY, ApplicationStatus.UNHEALTHY),
)


def _judge(
    target: Target | None, known: Known, shortages: Mapping[str, str], now: float
) -> tuple[DeploymentStatus, DeploymentStatusTrigger, str]:
    if target is None:
        return DeploymentStatus.UPDATING, DeploymentStatusTrigger.DELETING, _ending(known)
    if has_failed(target, known):
        trigger = DeploymentStatusTrigger.REPLICA_STARTUP_FAILED
        return (
            DeploymentStatus.DEPLOY_FAILED,
            trigger,
            _with_rest(known.failures.message, _rolled_back(target, known)),
        )
    new = [r for r in known.replicas if r.version == target.version and not r.ends]
    serving = [r for r in new if r.serves]
    missing = target.num_replicas - len(serving)
    waits = _waits(target, new, known, shortages, now)
    follows = known.scaling > 0 and (known.settled or serving)
    if missing > 0 and follows and not known.failures.starts:
        return DeploymentStatus.UPSCALING, DeploymentStatusTrigger.AUTOSCALING, waits
    if missing > 0 and known.settled:
        if known.failures.deaths:
            trigger = DeploymentStatusTrigger.HEALTH_CHECK_FAILED
            return DeploymentStatus.UNHEALTHY, trigger, waits
        if known.failures.starts:
            trigger = DeploymentStatusTrigger.REPLICA_STARTUP_FAILED
            return DeploymentStatus.UNHEALTHY, trigger, waits
        return DeploymentStatus.UPSCALING, DeploymentStatusTrigger.CONFIG_UPDATE_STARTED, waits
    updating = any(r.config != target.config for r in serving)
    old = [r for r in known.replicas if r.version != target.version and r.serves]
    if missing > 0 or updating or old:
        trigger = DeploymentStatusTrigger.CONFIG_UPDATE_STARTED
        return DeploymentStatus.UPDATING, trigger, waits
    if len(serving) > target.num_replicas or _lets_go(target, known):
        trigger = DeploymentStatusTrigger.CONFIG_UPDATE_STARTED
        if known.scaled < 0:
            trigger = DeploymentStatusTrigger.AUTOSCALING
        return DeploymentStatus.DOWNSCALING, trigger, ""
    return DeploymentStatus.HEALTHY, _COMPLETED[known.scaled or known.resized], ""


def _lets_go(target: Target, known: Known) -> bool:
    """Whether replicas end because fewer are wanted."""
    fewer = known.scaled < 0 or (known.resized < 0 and not known.failures.deaths)
    ends = any(r.ends and r.version == target.version for r in known.replicas)
    return fewer and ends


_COMPLETED: Final = {
    0: DeploymentStatusTrigger.CONFIG_UPDATE_COMPLETED,
    1: DeploymentStatusTrigger.UPSCALE_COMPLETED,
    -1: DeploymentStatusTrigger.DOWNSCALE_COMPLETED,
}


def _with_rest(message: str, rest: str) -> str:
    """Another sentence behind what users' code has said, which may end without a full stop."""
    if not message or not rest:
        return message or rest
    return f"{message}{'' if message.endswith(('.', '!', '?')) else '.'} {rest}"


def _rolled_back(target: Target, known: Known) -> str:
    old = [r for r in known.replicas if r.version != target.version and r.serves]
    if not old:
        return ""
    keep = "keeps" if len(old) == 1 else "keep"
    return f"The update is given up: {_replicas(len(old))} of the version before {keep} serving."


def _waits(
    target: Target,
    new: list[Replica],
    known: Known,
    shortages: Mapping[str, str],
    now: float,
) -> str:
    """What is being waited for, and since when."""
    parts: list[str] = []
    waiting = [r for r in new if r.phase in (Phase.WAITING, Phase.QUEUED)]
    if waiting:
        since = now - min(r.created for r in waiting)
        parts.append(
            f"{_replicas(len(waiting))} waiting for resources for {since:.0f}s "
            f"(startup_timeout_s={target.startup_timeout_s:g}): "
            + "; ".join(dict.fromkeys(shortages.get(r.id, "not tried yet") for r in waiting))
        )
    starting = [r for r in new if r.phase in (Phase.ATTACHED, Phase.STARTING)]
    if starting:
        since = now - min(r.since for r in starting)
        parts.append(f"{_replicas(len(starting))} constructing for {since:.0f}s")
    failures = known.failures
    if failures.message and (failures.starts or failures.deaths):
        pause = failures.next_at - now
        again = f"; next attempt in {pause:.1f}s" if pause > 0 and len(new) == 0 else ""
        parts.append(f"{failures.message}{again}")
    return "; ".join(parts)


def _ending(known: Known) -> str:
    return f"{_replicas(len(known.replicas))} finishing" if known.replicas else ""


def _replicas(count: int) -> str:
    return "1 replica" if count == 1 else f"{count} replicas"
