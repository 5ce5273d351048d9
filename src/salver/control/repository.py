"""Loads and unloads models, as the repository extension of the inference protocol has it."""

from __future__ import annotations

from typing import Final, Protocol

from salver.control.controller import Controller
from salver.core.unloading import resting
from salver.errors import SalverError
from salver.oip.errors import UnsupportedError
from salver.oip.repository import LoadRequest
from salver.spec.ids import DeploymentId
from salver.spec.status import DeploymentStatus, DeploymentStatusOverview

__all__ = ("DeploymentRepository", "Repository")

_FAILED: Final = (DeploymentStatus.UNHEALTHY, DeploymentStatus.DEPLOY_FAILED)
_DONE: Final = (DeploymentStatus.HEALTHY, *_FAILED)


class Repository(Protocol):
    """One for deployments, others for folders of models."""

    async def load(self, name: str, request: LoadRequest) -> None:
        """Let the model answer; return when it does."""

    async def unload(self, name: str, *, dependents: bool) -> None:
        """Let the model answer no more, and give back what it alone needed."""


class DeploymentRepository:
    """What is unloaded gets no calls; deployments that serve nothing else have no replicas then."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    async def load(self, name: str, request: LoadRequest) -> None:
        if request.config is not None or request.files:
            raise UnsupportedError(
                f"model {name!r} is a deployment's: its configuration is in its code, so load it "
                "without config and files"
            )
        controller = self._controller
        parts = [part for spec in controller.specs() for part in spec.deployments]
        own = {part.id for part in parts if any(e.model == name for e in part.endpoints)}
        needed = self._resting() | own
        await controller.rest(controller.unloaded.load(controller.specs(), name))
        for deployment in needed - self._resting():
            status = await self._settled(deployment)
            if status.status in _FAILED:
                raise SalverError(f"Model {name!r} could not be loaded: {status.message}")
        await controller.publisher.wait_applied(controller.publisher.version)

    async def unload(self, name: str, *, dependents: bool) -> None:
        controller = self._controller
        unloaded = controller.unloaded.unload(controller.specs(), name, dependents=dependents)
        await controller.rest(unloaded)

    def _resting(self) -> frozenset[DeploymentId]:
        controller = self._controller
        found = (resting(spec, controller.unloaded) for spec in controller.specs())
        return frozenset[DeploymentId]().union(*found)

    async def _settled(self, deployment: DeploymentId) -> DeploymentStatusOverview:
        """Return when the deployment is as it should be, or cannot be."""
        found: list[DeploymentStatusOverview | None] = []

        def done() -> bool:  # what it sees may have changed when this goes on
            if self._controller.has_acted_on(deployment.app):
                status = self._status(deployment)
                found.extend([status] if status is None or status.status in _DONE else [])
            return bool(found)

        await self._controller.news.until(done)
        if found[0] is None:
            raise SalverError(f"Deployment {deployment} was deleted while it was being loaded.")
        return found[0]

    def _status(self, deployment: DeploymentId) -> DeploymentStatusOverview | None:
        app = self._controller.status().applications.get(deployment.app)
        return app.deployments.get(deployment.name) if app is not None else None
