"""What one process knows of deployments and routes, kept fresh by the controller."""

from __future__ import annotations

from collections.abc import Callable

from salver.spec.ids import DeploymentId
from salver.spec.status import DeploymentView, RouteView

__all__ = ("Directory",)


class Directory:
    """Watches the controller; knows the last it heard while there is none."""

    views: dict[DeploymentId, DeploymentView]
    routes: tuple[RouteView, ...]
    version: int

    def on_routes(self, callback: Callable[[tuple[RouteView, ...]], None]) -> None:
        """Call back now (when routes are known) and whenever the table of routes changes."""
        raise NotImplementedError

    async def wait_for(self, deployment: DeploymentId) -> DeploymentView:
        """The view of this deployment, as soon as the controller has told of it."""
        raise NotImplementedError
