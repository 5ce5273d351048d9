"""`salver.serve.context`: the replica and the call that code runs in."""

from __future__ import annotations

from salver.api import batch_request_contexts as _get_serve_batch_request_context
from salver.api import request_context as _serve_request_context
from salver.replica.context import ReplicaContext

__all__ = ("ReplicaContext", "_get_serve_batch_request_context", "_serve_request_context")
