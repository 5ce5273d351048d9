"""`salver.serve.request_router`: a rule of one's own for choosing replicas."""

from __future__ import annotations

from salver.calls.request_router import (
    FIFOMixin,
    LocalityMixin,
    MultiplexMixin,
    PendingRequest,
    ReplicaResult,
    RequestRouter,
    RunningReplica,
)
from salver.spec.ids import ReplicaId as ReplicaID

__all__ = (
    "FIFOMixin",
    "LocalityMixin",
    "MultiplexMixin",
    "PendingRequest",
    "ReplicaID",
    "ReplicaResult",
    "RequestRouter",
    "RunningReplica",
)
