"""`salver.serve.context`: the replica and the call that code runs in."""

from __future__ import annotations

from salver.replica.context import ReplicaContext, current_replica
from salver.replica.request import RequestContext as _RequestContext
from salver.replica.request import batch_request_contexts as _get_serve_batch_request_context
from salver.replica.request import request_context as _serve_request_context
from salver.spec.companions import DeploymentActorContext
from salver.spec.start import GangContext

__all__ = (
    "DeploymentActorContext",
    "GangContext",
    "ReplicaContext",
    "_RequestContext",
    "_get_internal_replica_context",
    "_get_serve_batch_request_context",
    "_get_serve_request_context",
    "_serve_request_context",
)

_get_serve_request_context = _serve_request_context.get


def _get_internal_replica_context() -> ReplicaContext | None:
    """Which replica the running code belongs to; None: to none."""
    return current_replica.get(None)
