"""What one process knows of deployments and routes, kept fresh by the controller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from salver.calls.load import LoadReports
from salver.errors import SalverError
from salver.spec.ids import DeploymentId, ReplicaId
from salver.spec.status import Delta, DeploymentView, Load, ModelView, ReplicaFacts, RouteView
from salver.wire.rpc import Rpc

if TYPE_CHECKING:
    from salver.calls.cluster import Cluster
    from salver.calls.router import Router

__all__ = ("Directory",)

_DELETED: Final = "The deployment was deleted."
_REMEMBERED: Final = 256  # deployments that were deleted: a late call is told so
_REFUSALS: Final = 20  # links in a row that controllers have ended before they took us in


class Directory:
    """Watches the controller; knows the last it heard while there is none. Home loop only."""

    def __init__(self, cluster: Cluster) -> None:
        self.views: dict[DeploymentId, DeploymentView] = {}
        self._deleted: dict[DeploymentId, None] = {}  # those of `views`, the latest last
        self._facts: dict[DeploymentId, dict[str, ReplicaFacts]] = {}
        self.routes: tuple[RouteView, ...] = ()
        self.models: tuple[ModelView, ...] = ()
        self.version = 0  # 0: nothing heard yet
        self.up = False  # what was wanted first has been brought up; once it has, for good
        # What the controller may ask of this process over the link.
        self.methods: dict[str, Callable[[Any], Any]] = {}
        self._heard = False
        self._cluster = cluster
        self._listeners: list[Callable[[tuple[RouteView, ...]], None]] = []
        self._model_listeners: list[Callable[[tuple[ModelView, ...]], None]] = []
        self._followers: list[Callable[[], None]] = []
        self._waiters: dict[DeploymentId, list[asyncio.Future[DeploymentView]]] = {}
        self._task: asyncio.Task[None] | None = None
        self._rpc: Rpc | None = None
        self.loads = LoadReports(cluster.loop, self._tell_load)

    # ---- for the process

    def on_routes(self, callback: Callable[[tuple[RouteView, ...]], None]) -> None:
        """Call back now (when routes are known) and whenever the table of routes changes."""
        self._listeners.append(callback)
        self._cluster.start()
        if self._heard:
            callback(self.routes)

    def on_models(self, callback: Callable[[tuple[ModelView, ...]], None]) -> None:
        """The same for the table of models."""
        self._model_listeners.append(callback)
        self._cluster.start()
        if self._heard:
            callback(self.models)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back now (when anything is known) and whenever anything has changed."""
        self._followers.append(callback)
        self._cluster.start()
        if self._heard:
            callback()

    async def wait_for(self, deployment: DeploymentId) -> DeploymentView:
        """The view of this deployment, as soon as the controller has told of it."""
        view = self.views.get(deployment)
        if view is not None:
            return view
        self._cluster.start()
        future: asyncio.Future[DeploymentView] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(deployment, [])
        waiters.append(future)
        try:
            return await future
        finally:
            waiters.remove(future)
            if not waiters:
                self._waiters.pop(deployment, None)

    def has(self, deployment: DeploymentId) -> bool:
        """Whether it is there, as far as is known here."""
        view = self.views.get(deployment)
        return view is not None and not view.gone

    # ---- what is new

    def apply(self, delta: Delta) -> None:
        """Take in what changed, and tell routers and listeners."""
        if not delta.full and delta.version <= self.version:
            return  # known from the snapshot that came with the watch
        self._take(delta)
        for follower in self._followers:
            follower()

    def _take(self, delta: Delta) -> None:
        if delta.full:
            self._forget_all_but({view.id for view in delta.deployments})
            self.loads.again()
        for view in delta.deployments:
            self._tell(view)
        for facts in delta.facts:
            self._note(facts)
        news = delta.routes is not None and delta.routes != self.routes
        first, self._heard = not self._heard, True
        self.version = delta.version
        self.up = self.up or delta.up
        if delta.models is not None and delta.models != self.models:
            self.models = delta.models
            for listener in self._model_listeners:
                listener(self.models)
        if delta.routes is not None:
            self.routes = delta.routes
        if news or first:
            for callback in self._listeners:
                callback(self.routes)

    def _forget_all_but(self, told: set[DeploymentId]) -> None:
        for known in list(self.views.values()):
            if known.id not in told and not known.gone:
                gone = {"replicas": (), "gone": _DELETED, "ingress": False}
                self._tell(msgspec.structs.replace(known, **gone))

    def facts_of(self, deployment: DeploymentId) -> list[ReplicaFacts]:
        """What its replicas say of themselves."""
        return list(self._facts.get(deployment, {}).values())

    def _note(self, facts: ReplicaFacts) -> None:
        deployment = ReplicaId.parse(facts.replica).deployment_id
        self._facts.setdefault(deployment, {})[facts.replica] = facts
        router = self._cluster.routers.get(deployment)
        if router is not None:
            router.learn(facts)

    def _forget(self, before: DeploymentView, now: DeploymentView) -> None:
        """Replicas that are gone have nothing to say. (New ones may have spoken already.)"""
        said = self._facts.get(now.id)
        if not said:
            return
        router = self._cluster.routers.get(now.id)
        for replica in {r.id for r in before.replicas} - {r.id for r in now.replicas}:
            if said.pop(replica, None) is not None and router is not None:
                router.forget(replica)
        if not said:
            del self._facts[now.id]

    def _tell(self, view: DeploymentView) -> None:
        before = self.views.get(view.id)
        if before is not None and self._facts:
            self._forget(before, view)
        self.views[view.id] = view
        self._deleted.pop(view.id, None)
        if view.gone:
            self._bury(view.id)
        router = self._cluster.routers.get(view.id)
        if router is not None:
            self.show(view, router)
        for future in self._waiters.get(view.id, ()):
            if not future.done():
                future.set_result(view)

    def _bury(self, deployment: DeploymentId) -> None:
        """It was deleted. Of the one that was so the longest ago nothing is remembered."""
        self._deleted[deployment] = None
        if len(self._deleted) > _REMEMBERED:
            first = next(iter(self._deleted))
            del self._deleted[first], self.views[first]
            self._facts.pop(first, None)

    def show(self, view: DeploymentView, router: Router) -> None:
        """Tell a router what its deployment is like."""
        routers = self._cluster.routers
        (routers.let_go if view.gone else routers.keep)(router)
        router.update(view)
        self.loads.follow(router, view)

    # ---- the control link

    def start(self) -> None:
        """Watch from now on."""
        if self._task is None:
            self._task = self._cluster.loop.create_task(self._watch())

    def close(self) -> None:
        """Watch no more; who waits is told so."""
        self.loads.close()
        if self._task is not None:
            self._task.cancel()
        if self._rpc is not None:
            self._rpc.close()
        error = SalverError(f"The link to the instance at {self._cluster.address!r} was closed.")
        for waiters in self._waiters.values():
            for future in waiters:
                if not future.done():
                    future.set_exception(error)

    async def ask(self, method: str, body: Any = None) -> Any:
        """What the controller answers. SalverError: there is none just now."""
        if self._rpc is None:
            raise SalverError("The controller has not been reached yet.")
        return await self._rpc.call(method, body)

    async def _watch(self) -> None:
        """Keep a link to the controller.

        The keeper holds the listening socket, so while there is no controller, or one that is
        stopped or slow, a dial waits in the backlog as long as it takes, and needs no pause; where
        nobody listens the instance itself is no more.
        """
        refused = 0
        while refused < _REFUSALS:
            closed = asyncio.Event()
            methods = {"changed": self._changed, **self.methods}
            rpc = Rpc(methods, on_close=partial(_set, closed))
            try:
                await self._cluster.dial_control(rpc)
                self._rpc = rpc
                await rpc.call("watch", {})
            except OSError:
                break
            except SalverError:  # a controller that died: await the next
                refused += 1
                rpc.close()
                continue
            refused = 0
            await closed.wait()
        self._cluster.lost()

    def _tell_load(self, loads: list[Load]) -> None:
        if self._rpc is not None:
            self._rpc.notify("load", loads)

    def _changed(self, body: Any) -> None:
        delta = msgspec.convert(body, Delta)
        self.apply(delta)
        if self._rpc is not None:
            self._rpc.notify("applied", {"version": delta.version})


def _set(event: asyncio.Event, *_: object) -> None:
    event.set()
