"""What a replica tells of itself when it is asked for its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salver.calls.context import current_call
from salver.telemetry.registry import Family, Kind, MetricScope, family_of, registry

if TYPE_CHECKING:
    from salver.replica.context import ReplicaContext
    from salver.replica.host import Host

__all__ = ("families_of", "scope_of")


def scope_of(context: ReplicaContext) -> MetricScope:
    """What all numbers of this replica's code carry."""
    tags = {
        "application": context.app_name,
        "deployment": context.deployment,
        "replica": context.replica_tag,
    }
    return MetricScope(tuple(tags.items()), _route)


def families_of(host: Host) -> list[Family]:
    """The replica's own numbers, and those that its user's code counts."""
    tags = scope_of(host.context).tags
    stats = host.stats()
    own = (
        (Kind.COUNTER, "salver_replica_calls", "Calls that the replica has let in.", stats.calls),
        (Kind.COUNTER, "salver_replica_errors", "Calls that ended in an exception.", stats.errors),
        (
            Kind.COUNTER,
            "salver_replica_rejected_calls",
            "Calls sent back as the replica was full; another took them, or it did later.",
            stats.rejected,
        ),
        (
            Kind.COUNTER,
            "salver_replica_withdrawn_calls",
            "Calls that the replica had let in, and another did, as this one was held up.",
            stats.withdrawn,
        ),
        (Kind.GAUGE, "salver_replica_ongoing_calls", "Calls under way.", stats.ongoing),
    )
    families = [family_of(kind, name, what, [(tags, value)]) for kind, name, what, value in own]
    return families + registry.collect(tags)


def _route() -> str:
    call = current_call.get()
    return call.route if call is not None else ""
