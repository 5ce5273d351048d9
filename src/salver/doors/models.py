"""Which deployment answers for which model: what every door that speaks of models looks up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from salver.core.versions import default_version
from salver.doors.routes import no_router
from salver.oip.errors import ModelNotFoundError
from salver.spec.ids import DeploymentId
from salver.spec.status import ModelView

if TYPE_CHECKING:
    from salver.calls.router import Router

__all__ = ("Model", "ModelTable")


class Model:
    """One version of one model, and the router of the deployment that answers for it."""

    __slots__ = ("router", "view")

    def __init__(self, view: ModelView, router: Router) -> None:
        self.view = view
        self.router = router


class ModelTable:
    """Immutable: a change of models is a new table."""

    def __init__(
        self,
        views: Iterable[ModelView] = (),
        router_of: Callable[[DeploymentId], Router] = no_router,
    ) -> None:
        self._models: dict[str, dict[str, Model]] = {}
        for view in views:
            found = self._models.setdefault(view.name, {})
            found[view.version] = Model(view, router_of(view.deployment))

    def __bool__(self) -> bool:
        return bool(self._models)

    def __iter__(self) -> Iterator[Model]:
        return (model for versions in self._models.values() for model in versions.values())

    def find(self, name: str, version: str = "") -> Model:
        """The model of that name; without a version the default one. ModelNotFoundError."""
        versions = self._models.get(name)
        if versions is None:
            raise ModelNotFoundError(name)
        if not version:
            return versions[default_version(versions)]
        if version not in versions:
            raise ModelNotFoundError(name, version)
        return versions[version]

    def versions(self, name: str) -> list[str]:
        """The versions of that name that can be asked for."""
        return sorted(version for version in self._models.get(name, ()) if version)
