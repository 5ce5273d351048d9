"""The routers of one process, by deployment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakValueDictionary

from salver.calls.router import Router
from salver.spec.ids import DeploymentId

__all__ = ("Routers",)


class Routers:
    """Keeps each router until its deployment is deleted; from then on whoever uses it does.

    So a process does not grow with the names that it has seen, and a handle that is held finds
    its deployment when it comes back.
    """

    def __init__(self, make: Callable[[DeploymentId, bool], Router]) -> None:
        self._make = make
        self._kept: dict[DeploymentId, Router] = {}
        self._deleted: WeakValueDictionary[DeploymentId, Router] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, deployment: DeploymentId) -> Router | None:
        """The one that there is."""
        router = self._kept.get(deployment)
        return router if router is not None else self._deleted.get(deployment)

    def find(self, deployment: DeploymentId, *, eager: bool) -> tuple[Router, bool]:
        """The one that there is, or a new one; whether it is new."""
        with self._lock:
            router = self.get(deployment)
            if router is not None:
                return router, False
            router = self._kept[deployment] = self._make(deployment, eager)
            return router, True

    def keep(self, router: Router) -> None:
        """Its deployment is there."""
        with self._lock:
            self._kept[router.deployment] = router
            self._deleted.pop(router.deployment, None)

    def let_go(self, router: Router) -> None:
        """Its deployment is deleted."""
        with self._lock:
            self._deleted[router.deployment] = router
            self._kept.pop(router.deployment, None)

    def all(self) -> list[Router]:
        """Those of deleted deployments that somebody uses yet, too."""
        with self._lock:
            return [*self._kept.values(), *self._deleted.values()]
