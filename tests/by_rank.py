"""Replicas that say their rank, and calls that say to which of them they go."""

from __future__ import annotations

from typing import Any

import salver
from salver.serve.request_router import PendingRequest, RequestRouter, RunningReplica


class Ranked:
    """A deployment's class that tells routers its rank."""

    @property
    def rank(self) -> int:
        return salver.get_replica_context().rank.rank

    def record_routing_stats(self) -> dict[str, Any]:
        return {"rank": self.rank}


class ByRank(RequestRouter):
    """A call goes to the replica of the rank that `wanted` reads from it, when that has told it."""

    async def wanted(self, request: PendingRequest) -> int:
        raise NotImplementedError

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        assert pending_request is not None
        wanted = await self.wanted(pending_request)
        return [[r for r in candidate_replicas if r.routing_stats.get("rank") == wanted]]
