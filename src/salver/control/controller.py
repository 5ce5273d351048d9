"""The loop that makes what is match what is wanted: observe, reconcile, act, publish.

It runs when something happened (a deploy, an attach, a death, the end of a step) or when reconcile
asked to be woken; never by a fixed rate. All state is touched on one event loop only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from salver.control.events import Events
from salver.control.health import Health
from salver.control.members import App, Member, Peer
from salver.control.news import News
from salver.control.publish import Publisher
from salver.control.recovery import recover
from salver.control.scaling import Scaling
from salver.control.steps import Steps
from salver.control.views import (
    app_status,
    models_of,
    routes_of,
    serving_route,
    target_capacity,
    views_of,
)
from salver.core.ports import Engine, Exit, Resources, Store
from salver.core.reconcile import reconcile
from salver.core.rollout import ENDING, SERVING, Phase, Plan
from salver.errors import DeployFailedError, SalverError
from salver.spec.app import AppSpec
from salver.spec.start import Place
from salver.spec.status import ApplicationStatus, AppStatus, ServeStatus

__all__ = ("Controller",)

_logger: Final = logging.getLogger("salver.control")

ATTACH_LIMIT_S: Final = 5.0  # for living replicas to dial a new controller
DONE: Final = (ApplicationStatus.RUNNING, ApplicationStatus.DEPLOY_FAILED)


class Controller:
    """One per instance. `open` before anything else; `close` at the end."""

    def __init__(
        self,
        engine: Engine,
        store: Store,
        *,
        doors: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events = Events()
        self.publisher = Publisher(doors)
        self._engine = engine
        self._store = store
        self._clock = clock
        self._apps: dict[str, App] = {}
        self._plans: dict[str, Plan] = {}
        self._states: dict[str, str] = {}
        self._steps = Steps(engine, self.events, clock, self._touch)
        self._health = Health(self.unhealthy)
        self.scaling = Scaling(store, self.events, clock, self._touch)
        self._dirty: set[str] = set()
        self._scheduled: asyncio.Handle | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.news = News()
        self._recovering: set[str] = set()
        self._withheld: frozenset[str] = frozenset()
        self._watch: asyncio.Task[None] | None = None
        self._notices: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Take up what an earlier controller wanted and what it left running."""
        self._loop = asyncio.get_running_loop()
        self._apps = await recover(self._engine, self._store, self._clock)
        self._watch = asyncio.create_task(self._watch_exits())
        self._engine.on_drain(self._drain_for_owner)
        self._recovering = {name for app in self._apps.values() for name in app.members}
        if self._recovering:
            self._loop.call_later(ATTACH_LIMIT_S, self._recovered)
        else:
            self._recovered()

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._health.close()
        self.scaling.close()
        for task in (self._watch, *self._notices):
            if task is not None:
                task.cancel()
        await self._steps.close()

    # ---- what clients ask

    def deploy(self, spec: AppSpec) -> None:
        """Want this app from now on."""
        _refuse_conflicts(self._apps.values(), spec)
        app = self._apps.setdefault(spec.name, App(spec.name))
        app.want(spec, time.time())
        self._store.put(*app.to_keep())
        self._touch(app)

    async def delete(self, name: str) -> None:
        """Stop this app; return when it is gone."""
        app = self._apps.get(name)
        self.discard(name)
        await self.news.until(lambda: self._apps.get(name) is not app or not (app and app.deleting))

    def discard(self, name: str) -> None:
        """Want this app no more. Unknown: nothing happens."""
        app = self._apps.get(name)
        if app is not None:
            self._store.remove(name)
            app.want(None)
            self._touch(app)

    async def shutdown(self) -> None:
        """Delete every app; return when all are gone."""
        await asyncio.gather(*(self.delete(name) for name in list(self._apps)))

    async def wait(self, name: str) -> AppStatus:
        """Return when the app runs and the doors know it, or when it has failed."""
        while True:
            await self.news.until(lambda: self._finished(name))
            app = self._apps.get(name)
            if app is None or app.deleting:
                raise DeployFailedError(name, "there is no such app (deleted, or never deployed).")
            status = self._status(app)
            if status.status is ApplicationStatus.DEPLOY_FAILED:
                return status
            await self.publisher.wait_applied(self.publisher.version)
            if self._finished(name):
                return self._status(app)

    def status(self) -> ServeStatus:
        return ServeStatus(
            proxies=self.publisher.doors(),
            applications={name: self._status(app) for name, app in self._apps.items()},
            target_capacity=target_capacity(self._apps.values()),
        )

    async def capacity(self) -> tuple[Resources, Resources]:
        return await self._engine.capacity()

    def withhold(self, models: frozenset[str]) -> None:
        """Doors give these models no calls from now on."""
        self._withheld = models
        self._publish()

    # ---- what replicas tell

    def attached(
        self, replica_id: str, address: str, state: str, peer: Peer, *, place: Place | None = None
    ) -> None:
        """A replica has dialled in: a new one, or one that an earlier controller started."""
        found = self._find(replica_id)
        if found is None:
            self._later(self._engine.stop(replica_id, force=True))
            raise SalverError(f"Replica {replica_id} is not known here; it will be ended.")
        app, member = found
        member.peer, member.address = peer, address
        if member.replica.phase is Phase.ATTACHING:
            running = state == "running"
            if running:
                member.place = place  # that an earlier controller gave it
            member.enter(Phase.RUNNING if running else Phase.ATTACHED, self._clock())
        elif member.replica.phase is Phase.STARTING:  # its line broke meanwhile: ask again
            member.enter(Phase.ATTACHED, self._clock())
        self._recovering.discard(replica_id)
        self._touch(app)
        if not self._recovering and not self.publisher.is_open:
            self._recovered()

    def detached(self, replica_id: str, peer: Peer) -> None:
        """Its line is gone. If it is dead, the engine will say so; otherwise it dials again."""
        found = self._find(replica_id)
        if found is not None and found[1].peer is peer:
            found[1].peer = None

    def unhealthy(self, replica_id: str, message: str) -> None:
        """It says itself that it cannot go on: replace it."""
        found = self._find(replica_id)
        if found is not None and found[1].replica.phase in SERVING:
            app, member = found
            self._steps.fell(app, member, "is unhealthy", message)
            self._steps.retire(app, member)
            self._touch(app)

    # ---- the loop

    def _touch(self, app: App) -> None:
        self._dirty.add(app.name)
        if self._scheduled is None and self.publisher.is_open:
            self._scheduled = self._loop.call_soon(self._step)

    def _step(self) -> None:
        self._scheduled = None
        dirty, self._dirty = self._dirty, set()
        for name in dirty:
            app = self._apps.get(name)
            if app is not None:
                self._reconcile(app)
        self._publish()
        self._health.watch(
            (member, app.options_of(member))
            for app in self._apps.values()
            for member in app.members.values()
        )
        self._tell()

    def _reconcile(self, app: App) -> None:
        self.scaling.follow(app)
        plan = reconcile(app.known(), self._clock())
        for deployment in plan.complete:
            app.memory(deployment).completed()
        if app.wanted is not None and plan.complete >= app.targets.keys() and app.completed():
            self._store.put(*app.to_keep())
        self._plans[app.name] = plan
        for action in plan.actions:
            self._steps.take(app, action)
        self._steps.place(app)
        app.route = serving_route(app, plan)
        self._set_timer(app, plan.wake_at)
        if app.gone:
            self._plans.pop(app.name, None)
            del self._apps[app.name]

    def _set_timer(self, app: App, wake_at: float | None) -> None:
        timer = self._timers.pop(app.name, None)
        if timer is not None:
            timer.cancel()
        if wake_at is not None:
            delay = max(0.0, wake_at - self._clock())
            self._timers[app.name] = self._loop.call_later(delay, self._touch, app)

    def _publish(self) -> None:
        apps = list(self._apps.values())
        views = [view for app in apps for view in views_of(app, self._plans.get(app.name))]
        self.publisher.update(views, routes_of(apps), models_of(apps, self._withheld))

    def _tell(self) -> None:
        """Events for what has changed, and a nudge for who waits."""
        states = {name: self._status(app) for name, app in self._apps.items()}
        for name in self._states.keys() - states.keys():
            self.events.emit(name, "DELETED")
        for name, status in states.items():
            if self._states.get(name) != status.status:
                self.events.emit(name, status.status, status.message)
        self._states = {name: status.status for name, status in states.items()}
        self.news.tell()

    def _later(self, step: Any) -> None:
        task = asyncio.ensure_future(step)
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    # ---- deaths

    async def _watch_exits(self) -> None:
        async for exit_ in self._engine.exits():
            try:
                self._exited(exit_)
            except Exception:  # boundary: the next death must be noticed, whatever this one did
                _logger.exception("Could not account for the end of %s", exit_.id)

    def _exited(self, exit_: Exit) -> None:
        found = self._find(exit_.id)
        if found is None and not exit_.asked:  # a door, or what died before this controller began
            self.events.emit(exit_.id, "DIED", exit_.reason)
        elif found is not None:
            app, member = found
            phase = member.replica.phase
            if phase in SERVING:
                self._steps.fell(app, member, "died", exit_.reason)
            elif phase not in ENDING:
                self._steps.start_failed(app, member, f"ended before it ran: {exit_.reason}")
            else:
                self.events.emit(exit_.id, "STOPPED")
            app.members.pop(exit_.id, None)
            self._recovering.discard(exit_.id)
            self._touch(app)
        self._retry_waiting()

    def _retry_waiting(self) -> None:
        """Something was freed: whoever waits for capacity may try again, the longest first."""
        for app in self._apps.values():
            waiting = [m for m in app.members.values() if m.replica.phase is Phase.WAITING]
            for member in waiting:
                # `since` stays out of it: how long it may wait counts from its creation.
                member.enter(Phase.QUEUED, self._clock())
            if waiting:
                self._touch(app)

    # ---- beginning and end

    def _recovered(self) -> None:
        if self.publisher.is_open:
            return
        for replica_id in self._recovering:
            _logger.warning("Replica %s did not dial in; it will be replaced", replica_id)
        self._recovering.clear()
        for app in list(self._apps.values()):
            self._reconcile(app)
        self._publish()
        self.publisher.open()
        for app in self._apps.values():
            self._touch(app)
        self._tell()

    def _drain_for_owner(self) -> None:
        self._engine.drain_limit(max(map(_drain_limit, self._apps.values()), default=0.0) + 2.0)
        self._later(self._drain_all())

    async def _drain_all(self) -> None:
        await self.shutdown()
        self._engine.drained()

    # ---- small

    def _find(self, replica_id: str) -> tuple[App, Member] | None:
        for app in self._apps.values():
            if (member := app.members.get(replica_id)) is not None:
                return app, member
        return None

    def _status(self, app: App) -> AppStatus:
        return app_status(app, self._clock())

    def _finished(self, name: str) -> bool:
        if name in self._dirty:  # what its status says has not been acted on yet
            return False
        app = self._apps.get(name)
        return app is None or app.deleting or self._status(app).status in DONE


def _refuse_conflicts(apps: Iterable[App], spec: AppSpec) -> None:
    _refuse_taken_models(spec, apps)
    for other in apps:
        if other.name == spec.name or other.spec is None or spec.route_prefix is None:
            continue
        if spec.route_prefix in (other.spec.route_prefix, other.route):
            raise SalverError(
                f"Route prefix {spec.route_prefix!r} of app {spec.name!r} is taken by app "
                f"{other.name!r}. Give one of them another route_prefix."
            )


def _refuse_taken_models(spec: AppSpec, apps: Iterable[App]) -> None:
    wanted = {(e.model, e.version): d.id for d in spec.deployments for e in d.endpoints}
    for model in models_of(app for app in apps if app.name != spec.name):
        mine = wanted.get((model.name, model.version))
        if mine is not None:
            version = f" version {model.version!r}" if model.version else ""
            raise SalverError(
                f"Model {model.name!r}{version} of deployment {mine} is taken by deployment "
                f"{model.deployment}. Give one of them another name: @endpoint(name=...)."
            )


def _drain_limit(app: App) -> float:
    """How long the end of an app may take, one replica after another."""
    members = app.members.values()
    return sum(app.options_of(m).graceful_shutdown_timeout_s + 2.0 for m in members)
