"""`salver.serve.handle`: how code calls a deployment."""

from __future__ import annotations

from salver.calls.handle import DeploymentHandle
from salver.calls.response import DeploymentResponse
from salver.calls.stream import DeploymentResponseGenerator

__all__ = ("DeploymentHandle", "DeploymentResponse", "DeploymentResponseGenerator")
