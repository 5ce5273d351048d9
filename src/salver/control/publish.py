"""Versioned views of deployments, routes and models, pushed to everyone who watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from salver.control.doors import DoorStarts
from salver.core.ports import Exit
from salver.errors import EngineError
from salver.spec.ids import DeploymentId
from salver.spec.status import (
    Delta,
    DeploymentView,
    ModelView,
    ProxyStatus,
    ReplicaFacts,
    RouteView,
)

__all__ = ("Publisher", "Watcher")


class Watcher:
    """One directory somewhere. `door`: requests come in there, so its word is waited for."""

    def __init__(self, name: str, send: Callable[[Delta], None], *, door: bool) -> None:
        self.name = name
        self.send = send
        self.door = door
        self.applied = 0


class Publisher:
    """Knows the latest views; tells watchers what changed; knows who has applied what.

    Silent until `open`: a controller that is still finding its replicas must not tell routers that
    there are none.
    """

    def __init__(self, doors: int = 0) -> None:
        self._doors = doors
        self._starts = DoorStarts()
        self._views: dict[DeploymentId, DeploymentView] = {}
        self._routes: tuple[RouteView, ...] = ()
        self._models: tuple[ModelView, ...] = ()
        self._facts: dict[str, ReplicaFacts] = {}
        self._news: dict[str, ReplicaFacts] = {}  # of this tick, not sent yet
        self._version = 0
        self._open = False
        self._up = False
        self._watchers: set[Watcher] = set()
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def version(self) -> int:
        return self._version

    @property
    def views(self) -> dict[DeploymentId, DeploymentView]:
        return dict(self._views)

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def is_up(self) -> bool:
        """Whether what was wanted first has been brought up, however it is now."""
        return self._up

    def doors(self) -> dict[str, ProxyStatus]:
        """The state of each door, by its name."""
        doors = sorted(watcher.name for watcher in self._watchers if watcher.door)
        return dict.fromkeys(doors, ProxyStatus.HEALTHY) | dict.fromkeys(
            self._starts.hopeless, ProxyStatus.UNHEALTHY
        )

    @property
    def trouble(self) -> str:
        """What keeps a door from ever letting anybody in."""
        return self._starts.trouble

    def fell(self, exit_: Exit) -> None:
        """A process is dead. If it was a door, and dies at every start, nobody waits for it."""
        self._starts.fell(exit_)
        self._settle()

    def open(self) -> None:
        """What is known is true now: tell everyone."""
        self._open = True
        self._version += 1
        for watcher in list(self._watchers):
            watcher.send(self._everything())

    def add(self, watcher: Watcher) -> None:
        self._watchers.add(watcher)
        if self._open:
            watcher.send(self._everything())

    def remove(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)
        self._settle()

    def applied(self, watcher: Watcher, version: int) -> None:
        """This watcher acts on that version now."""
        watcher.applied = max(watcher.applied, version)
        if watcher.door:
            self._starts.stands(watcher.name)
        self._settle()

    def update(
        self,
        views: Iterable[DeploymentView],
        routes: Iterable[RouteView],
        models: Iterable[ModelView] = (),
        *,
        up: bool = False,
    ) -> None:
        """The whole picture as it is now; watchers get the difference. What was up stays so."""
        now = {view.id: view for view in views}
        changed = [view for key, view in now.items() if self._views.get(key) != view]
        changed += [
            DeploymentView(
                id=old.id,
                max_ongoing_requests=old.max_ongoing_requests,
                max_queued_requests=old.max_queued_requests,
                gone=f"Deployment {old.id} was deleted.",
            )
            for key, old in self._views.items()
            if key not in now
        ]
        table = tuple(sorted(routes, key=lambda route: route.prefix))
        known = tuple(sorted(models, key=lambda model: (model.name, model.version)))
        moved, learnt = table != self._routes, known != self._models
        self._views, self._routes, self._models = now, table, known
        came_up = up and not self._up
        self._up = self._up or up
        if self._open and (changed or moved or learnt or came_up):
            self._version += 1
            delta = Delta(
                self._version,
                tuple(changed),
                table if moved else None,
                models=known if learnt else None,
                up=self._up,
            )
            for watcher in list(self._watchers):
                watcher.send(delta)

    def note(self, facts: ReplicaFacts) -> None:
        """What a replica says of itself now; told at the end of this tick, with what others say."""
        self._facts[facts.replica] = facts
        if self._open:
            if not self._news:
                asyncio.get_running_loop().call_soon(self._send_news)
            self._news[facts.replica] = facts

    def forget(self, replica: str) -> None:
        """The replica is gone. Watchers learn it from the views."""
        self._facts.pop(replica, None)
        self._news.pop(replica, None)

    def _send_news(self) -> None:
        news, self._news = self._news, {}
        if news:
            self._version += 1
            delta = Delta(self._version, facts=tuple(news.values()), up=self._up)
            for watcher in list(self._watchers):
                watcher.send(delta)

    async def wait_applied(self, version: int) -> None:
        """Return when every door acts on this version or a later one.

        EngineError: one of them does not start.
        """
        if self.trouble:
            raise EngineError(self.trouble)
        if not self._all_applied(version):
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((version, future))
            await future

    def _everything(self) -> Delta:
        views, facts = tuple(self._views.values()), tuple(self._facts.values())
        return Delta(self._version, views, self._routes, True, self._models, facts, self._up)

    def _all_applied(self, version: int) -> bool:
        doors = [watcher for watcher in self._watchers if watcher.door]
        return len(doors) >= self._doors and all(door.applied >= version for door in doors)

    def _settle(self) -> None:
        for entry in list(self._waiting):
            version, future = entry
            if future.done():
                self._waiting.remove(entry)
            elif self.trouble:
                self._waiting.remove(entry)
                future.set_exception(EngineError(self.trouble))
            elif self._all_applied(version):
                self._waiting.remove(entry)
                future.set_result(None)
