"""`salver.serve.handle`: how code calls a deployment."""

from __future__ import annotations

from salver.calls.broadcast import DeploymentBroadcastResponse
from salver.calls.handle import DeploymentHandle
from salver.calls.response import DeploymentResponse
from salver.calls.selection import ReplicaSelection
from salver.calls.stream import DeploymentResponseGenerator

__all__ = (
    "DeploymentBroadcastResponse",
    "DeploymentHandle",
    "DeploymentResponse",
    "DeploymentResponseGenerator",
    "ReplicaSelection",
)
