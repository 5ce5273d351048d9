"""Which replica the running code belongs to: what `get_replica_context()` returns."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import msgspec

from salver.spec.ids import ReplicaId
from salver.spec.start import GangContext

__all__ = ("ReplicaContext", "ReplicaRank", "current_replica")


class ReplicaRank(msgspec.Struct, frozen=True):
    """A replica's place among all of its deployment, by node and within the node."""

    rank: int = 0
    node_rank: int = 0
    local_rank: int = 0


class ReplicaContext(msgspec.Struct):
    """What user code may know of the replica it runs in."""

    replica_id: ReplicaId
    servable_object: Any = None
    rank: ReplicaRank = ReplicaRank()
    world_size: int = 1
    code_version: str = ""
    gang_context: GangContext | None = None
    companions: tuple[str, ...] = ()  # names of the deployment actors that it may call
    max_ongoing_requests: int = 0
    instance: str = ""  # the address of what it is part of

    @property
    def app_name(self) -> str:
        return self.replica_id.deployment_id.app

    @property
    def deployment(self) -> str:
        return self.replica_id.deployment_id.name

    @property
    def replica_tag(self) -> str:
        return self.replica_id.unique_id


current_replica: ContextVar[ReplicaContext] = ContextVar("salver_replica")
