"""What a replica is told when it is to start."""

from __future__ import annotations

import msgspec

from salver.spec.app import DeploymentSpec

__all__ = ("StartSpec",)


class StartSpec(msgspec.Struct, frozen=True):
    """One replica as wanted: its deployment, its name, and its place among its siblings."""

    deployment: DeploymentSpec
    replica_id: str  # ReplicaId as text: app#deployment#unique
    route_prefix: str | None = None
    sys_path: tuple[str, ...] = ()
    cwd: str = ""
    rank: int = 0
    node_rank: int = 0
    local_rank: int = 0
    world_size: int = 1
