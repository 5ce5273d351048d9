"""Which app answers which path: the longest prefix that ends at a segment's end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from salver.spec.ids import DeploymentId
from salver.spec.status import RouteView

if TYPE_CHECKING:
    from salver.calls.router import Router

__all__ = ("Route", "RouteTable", "no_router")

_CACHE_SIZE: Final = 4096  # paths that are remembered, each up to:
_PATH_SIZE: Final = 512
_TAKEN: Final = ("/v1", "/v2")  # by an app, though the inference protocols have them too


class Route:
    """One prefix and the router that calls under it go to."""

    __slots__ = ("app", "deployment", "prefix", "router")
    json_errors = False

    def __init__(self, prefix: str, app: str, deployment: DeploymentId, router: Router) -> None:
        self.prefix = prefix
        self.app = app
        self.deployment = deployment
        self.router = router


def no_router(deployment: DeploymentId) -> Router:
    """For tables that hold nothing."""
    raise KeyError(deployment)


class RouteTable:
    """Immutable but for its cache: a change of routes is a new table."""

    def __init__(
        self,
        views: Iterable[RouteView] = (),
        router_of: Callable[[DeploymentId], Router] = no_router,
        before: Callable[[str], Route | None] | None = None,
    ) -> None:
        """`before` is asked first, but for the paths that an app has taken on purpose."""
        self._before = before
        self._routes: dict[str, Route] = {}
        for view in views:
            prefix = view.prefix.rstrip("/")
            router = router_of(view.deployment)
            self._routes[prefix] = Route(view.prefix, view.app, view.deployment, router)
        self._reach = max(map(len, self._routes), default=0)
        self._cache: dict[str, Route | None] = {}

    def match(self, path: str) -> Route | None:
        """The route of the longest prefix: `/hello` has `/hello` and `/hello/x`, not `/hello2`."""
        try:
            return self._cache[path]
        except KeyError:
            route = self._search(path)
        if len(path) <= _PATH_SIZE:
            if len(self._cache) >= _CACHE_SIZE:
                self._cache.clear()
            self._cache[path] = route
        return route

    def _search(self, path: str) -> Route | None:
        route = self._longest(path)
        if self._before is None or (route is not None and route.prefix.startswith(_TAKEN)):
            return route
        return self._before(path) or route

    def _longest(self, path: str) -> Route | None:
        if not path.startswith("/"):
            return self._routes.get("") if path == "*" else None
        end = len(path)
        if end > self._reach:  # no prefix is that long: a path of many segments costs no more
            end = path.rfind("/", 0, self._reach + 1)
        while end >= 0:
            route = self._routes.get(path[:end])
            if route is not None:
                return route
            end = path.rfind("/", 0, end)
        return None

    def listing(self) -> dict[str, str]:
        """Prefix to app, as `/-/routes` shows it."""
        return {route.prefix: route.app for route in self._routes.values()}
