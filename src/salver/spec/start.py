"""What a replica is told, and what it says of itself first."""

from __future__ import annotations

import msgspec

from salver.spec.app import DeploymentSpec
from salver.spec.options import DeploymentOptions

__all__ = ("Attachment", "Change", "GangContext", "Place", "StartSpec")


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


class Change(msgspec.Struct, frozen=True):
    """What a living replica is to go by from now on."""

    options: DeploymentOptions
    route_prefix: str | None = None


class Attachment(msgspec.Struct, frozen=True):
    """A replica's first words, to every controller that it meets."""

    id: str
    address: str
    state: str = "new"  # "new", "starting", "running", "draining"
    place: Place | None = None
    route_prefix: str | None = None  # that it goes by
