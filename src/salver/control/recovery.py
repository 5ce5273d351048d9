"""What a new controller finds: apps in the store, replicas that have gone on running."""

from __future__ import annotations

from collections.abc import Callable

from salver.control.members import App, Member
from salver.core.ports import Engine, ProcessStatus, Store
from salver.core.rollout import Phase, Replica
from salver.spec.ids import DeploymentId, ReplicaId
from salver.spec.options import DeploymentOptions
from salver.spec.start import GangContext

__all__ = ("labels_of", "recover")


def labels_of(app: App, member: Member) -> dict[str, str]:
    """What `recover` needs to know of this replica, should it be needed."""
    replica = member.replica
    labels = {
        "app": app.name,
        "deployment": member.deployment.name,
        "version": replica.version,
        "config": replica.config,
        "drain_s": repr(app.options_of(member).graceful_shutdown_timeout_s),
    }
    if member.route is not None:
        labels["route"] = member.route
    if (gang := replica.gang) is not None:
        labels |= {"gang": gang.gang_id, "members": " ".join(gang.member_replica_ids)}
    return labels


async def recover(engine: Engine, store: Store, clock: Callable[[], float]) -> dict[str, App]:
    """Apps by name. Replicas of an app that is not in the store belong to one being deleted."""
    apps: dict[str, App] = {}
    for spec, before in store.load():
        app = apps[spec.name] = App(spec.name)
        if before is not None:  # an update that was under way, or has failed
            app.want(before)
            app.completed()
        app.want(spec)
    for process in await engine.list():
        if process.kind == "replica":
            name = process.labels["app"]
            app = apps.setdefault(name, App(name))
            _adopt(app, process, clock())
    return apps


def _adopt(app: App, process: ProcessStatus, now: float) -> None:
    labels = process.labels
    deployment = DeploymentId(labels["deployment"], app.name)
    if deployment not in app.order:
        app.order = (deployment, *app.order)
    if deployment not in app.targets:  # nobody else remembers its options
        limit = float(labels["drain_s"])
        app.memory(deployment).options = DeploymentOptions(graceful_shutdown_timeout_s=limit)
    replica = Replica(
        process.id, labels["version"], labels["config"], Phase.ATTACHING, now, now,
        gang=_gang(process.id, labels), found=True,
    )  # fmt: skip
    app.members[process.id] = Member(deployment, replica, labels.get("route"))


def _gang(replica_id: str, labels: dict[str, str]) -> GangContext | None:
    if "gang" not in labels:
        return None
    members = labels["members"].split()
    rank = members.index(ReplicaId.parse(replica_id).unique_id)
    return GangContext(labels["gang"], rank, len(members), members)
