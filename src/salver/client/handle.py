"""How code calls a deployment."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from salver.client.response import DeploymentResponse, DeploymentResponseGenerator
from salver.spec.ids import DeploymentId

__all__ = ("DeploymentHandle",)

T = TypeVar("T")


class DeploymentHandle(Generic[T]):
    """Calls a deployment of a running app. Picklable, cheap to copy, usable from any thread."""

    def __init__(self, deployment_id: DeploymentId, address: str, options: Any = None) -> None:
        raise NotImplementedError

    def remote(self, *args: Any, **kwargs: Any) -> DeploymentResponse | DeploymentResponseGenerator:
        """Call it; returns at once."""
        raise NotImplementedError

    def options(self, **options: Any) -> DeploymentHandle[T]:
        """The same handle with other options."""
        raise NotImplementedError
