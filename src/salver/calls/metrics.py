"""What the routers of a process tell when they are asked for their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salver.telemetry.registry import Family, Kind, family_of

if TYPE_CHECKING:
    from salver.calls.cluster import Cluster

__all__ = ("router_families",)


def router_families(cluster: Cluster) -> list[Family]:
    """Calls that wait here for a replica, and those that are with one."""
    queued, sent = [], []
    for router in cluster.routers.all():
        deployment = router.deployment
        tags = (("application", deployment.app), ("deployment", deployment.name))
        stats = router.stats()
        queued.append((tags, float(stats.queued)))
        sent.append((tags, float(stats.inflight)))
    return [
        family_of(Kind.GAUGE, "salver_queued_calls", "Calls that wait for a replica.", queued),
        family_of(Kind.GAUGE, "salver_sent_calls", "Calls that are with a replica.", sent),
    ]
