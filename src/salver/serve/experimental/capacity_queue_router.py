"""`CapacityQueueRouter`: no replica gets more calls than it takes, as by every rule here."""

from __future__ import annotations

from salver.calls.request_router import PendingRequest, RequestRouter, RunningReplica

__all__ = ("CapacityQueueRouter",)


class CapacityQueueRouter(RequestRouter):
    """What it promises the default rule keeps, without a queue to ask, so that is what is used.

    A subclass is a rule of its own. The arguments have no effect.
    """

    def initialize_state(
        self,
        capacity_queue_actor_name: str = "",
        max_fault_retries: int = 3,
    ) -> None:
        """Nothing to know: a full replica is never chosen."""

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,  # noqa: ARG002
    ) -> list[list[RunningReplica]]:
        return [candidate_replicas]
