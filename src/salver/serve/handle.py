"""`salver.serve.handle`: how code calls a deployment."""

from __future__ import annotations

from salver.client.handle import DeploymentHandle
from salver.client.response import DeploymentResponse
from salver.client.stream import DeploymentResponseGenerator

__all__ = ("DeploymentHandle", "DeploymentResponse", "DeploymentResponseGenerator")
