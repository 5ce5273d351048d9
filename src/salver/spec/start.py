"""What a replica is told when it is to start."""

from __future__ import annotations

import msgspec

from salver.spec.app import DeploymentSpec

__all__ = ("GangContext", "Place", "StartSpec")


class Place(msgspec.Struct, frozen=True):
    """A replica's place among its siblings: ranks are 0 to `world_size` - 1, each held by one."""

    rank: int = 0
    world_size: int = 1
    node_rank: int = 0


class GangContext(msgspec.Struct, frozen=True):
    """A replica's gang and its place in it; `member_replica_ids` are by rank."""

    gang_id: str
    rank: int
    world_size: int
    member_replica_ids: list[str]
    pg_name: str = ""  # of a placement group, in a cluster


class StartSpec(msgspec.Struct, frozen=True):
    """One replica as wanted."""

    deployment: DeploymentSpec
    replica_id: str  # ReplicaId as text: app#deployment#unique
    route_prefix: str | None = None
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    place: Place = Place()
    gang: GangContext | None = None
