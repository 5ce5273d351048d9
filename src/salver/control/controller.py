"""The loop that makes what is match what is wanted: observe, reconcile, act, publish.

It runs when something happened (a deploy, an attach, a death, the end of a step) or when reconcile
asked to be woken; never by a fixed rate. All state is touched on one event loop only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from typing import Final

from salver.control.background import Background
from salver.control.conflicts import refuse_conflicts
from salver.control.events import Events
from salver.control.health import Health
from salver.control.members import App, Member, Peer
from salver.control.news import News
from salver.control.outcomes import Outcomes
from salver.control.pace import Pace
from salver.control.publish import Publisher
from salver.control.recovery import recover
from salver.control.scaling import Scaling
from salver.control.steps import Steps
from salver.control.views import (
    app_status,
    is_up,
    models_of,
    routes_of,
    serving_route,
    serving_spec,
    target_capacity,
    views_of,
)
from salver.core.ports import Engine, Exit, Resources, Store
from salver.core.reconcile import reconcile
from salver.core.unloading import Unloaded, resting
from salver.errors import DeployFailedError, SalverError
from salver.spec.app import AppSpec
from salver.spec.ids import DeploymentId
from salver.spec.start import Attachment
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
        stats_timeout_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.events = Events()
        self.publisher = Publisher(doors)
        self._engine = engine
        self._store = store
        self._clock = clock
        self._apps: dict[str, App] = {}
        self._states: dict[str, str] = {}
        self._outcomes = Outcomes(self.events, clock)
        self._steps = Steps(engine, self.events, self._outcomes, clock, self._touch)
        self._health = Health(self.unhealthy)
        self.scaling = Scaling(store, self.events, clock, self._touch, stats_timeout_s)
        self._dirty: set[str] = set()
        self._pace = Pace(self._step, clock)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.news = News()
        self._recovering: set[str] = set()
        self.unloaded = store.unloaded()
        self._background = Background()

    async def open(self) -> None:
        """Take up what an earlier controller wanted and what it left running."""
        self._loop = asyncio.get_running_loop()
        self._apps = await recover(self._engine, self._store, self._clock)
        self._background.run(self._watch_exits())
        self._engine.on_drain(self._drain_for_owner)
        self._recovering = {name for app in self._apps.values() for name in app.members}
        if self._recovering:
            self._loop.call_later(ATTACH_LIMIT_S, self._recovered)
        else:
            self._recovered()

    async def close(self) -> None:
        self._pace.close()
        self._health.close()
        self.scaling.close()
        for timer in self._timers.values():
            timer.cancel()
        await self._background.close()
        await self._steps.close()

    # ---- what clients ask

    def deploy(self, *specs: AppSpec, without: Collection[str] = ()) -> None:
        """Want these apps from now on, and no more those `without`. SalverError: nothing of it."""
        refuse_conflicts(self._apps.values(), specs, without)
        for name in without:
            self.discard(name)
        for spec in specs:
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
        """Return when the app runs and the doors know it, or failed; EngineError: a door has."""
        while True:
            await self.news.until(lambda: self._finished(name) or bool(self.publisher.trouble))
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
        apps = {name: self._status(app) for name, app in self._apps.items()}
        return ServeStatus(self.publisher.doors(), apps, target_capacity(self._apps.values()))

    async def capacity(self) -> tuple[Resources, Resources]:
        return await self._engine.capacity()

    def specs(self) -> list[AppSpec]:
        """Every app as it serves now."""
        return [serving_spec(app) for app in self._apps.values() if app.spec is not None]

    async def rest(self, unloaded: Unloaded) -> None:
        """Doors give these models no calls from now on; what serves nothing else has no replica."""
        self.unloaded = unloaded
        self._publish()
        for app in self._apps.values():
            self._touch(app)
        await self.publisher.wait_applied(self.publisher.version)

    def wants(self, deployment: DeploymentId) -> bool:
        """Whether there is to be such a deployment."""
        app = self._apps.get(deployment.app)
        return app is not None and deployment in app.targets

    def ingress_of(self, name: str) -> DeploymentId | None:
        """The deployment that an app's handle calls; None: there is to be no such app."""
        app = self._apps.get(name)
        return None if app is None or app.spec is None else app.spec.ingress.id

    def has_acted_on(self, name: str) -> bool:
        """Whether an app's status tells what has become of the latest that is wanted of it."""
        return name not in self._dirty

    # ---- what replicas tell

    def attached(self, replica: Attachment, peer: Peer) -> None:
        """A replica has dialled in: a new one, or one that an earlier controller started."""
        found = self._find(replica.id)
        if found is None:
            self._background.run(self._engine.stop(replica.id, force=True))
            raise SalverError(f"Replica {replica.id} is not known here; it will be ended.")
        app, member = found
        member.peer, member.address = peer, replica.address
        self._steps.go_on(app, member, replica)
        self._recovering.discard(replica.id)
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
        if found is not None and found[1].replica.serves:
            app, member = found
            self._outcomes.fell(app, member, "is unhealthy", message)
            self._steps.drain(app, member)
            self._touch(app)

    # ---- the loop

    def _touch(self, app: App) -> None:
        self._dirty.add(app.name)
        if self.publisher.is_open:
            self._pace.due()

    def _step(self) -> None:
        dirty, self._dirty = self._dirty, set()
        for name in dirty:
            app = self._apps.get(name)
            if app is not None:
                self._reconcile(app)
        self._publish()
        self._health.watch(pair for app in self._apps.values() for pair in app.with_options())
        self._tell()

    def _reconcile(self, app: App) -> None:
        self.scaling.follow(app)
        app.rest(resting(app.spec, self.unloaded) if app.spec is not None else frozenset())
        plan = app.plan = reconcile(app.known(), self._clock())
        for deployment in plan.complete:
            app.memory(deployment).completed()
        if app.wanted is not None and plan.complete >= app.targets.keys() and app.completed():
            self._store.put(*app.to_keep())
        for action in plan.actions:
            self._steps.take(app, action)
        self._steps.place(app)
        app.route = serving_route(app, plan)
        self._set_timer(app, plan.wake_at)
        if plan.actions:  # each has a time by which it is to be done: that is seen at a next look
            self._touch(app)
        if app.gone:
            del self._apps[app.name]

    def _set_timer(self, app: App, wake_at: float | None) -> None:
        timer = self._timers.pop(app.name, None)
        if timer is not None:
            timer.cancel()
        if wake_at is not None:
            delay = max(0.0, wake_at - self._clock())
            self._timers[app.name] = self._loop.call_later(delay, self._touch, app)

    def _publish(self) -> None:
        apps = self._apps.values()
        views = [view for app in apps for view in views_of(app)]
        self.unloaded = self.unloaded.among(self.specs())
        self._store.put_unloaded(self.unloaded)
        models = models_of(apps, self.unloaded.models)
        up = self.publisher.is_up or is_up(apps, self._clock())
        self.publisher.update(views, routes_of(apps), models, up=up)

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
            self.publisher.fell(exit_)
            self.news.tell()
        elif found is not None:
            app, member = found
            if member.replica.serves:
                self._outcomes.fell(app, member, "died", exit_.reason)
            elif not member.replica.ends:
                why = f"ended before it ran: {exit_.reason}"
                self._outcomes.start_failed(app, member, why)
            else:
                self.events.emit(exit_.id, "STOPPED")
            app.members.pop(exit_.id, None)
            self._recovering.discard(exit_.id)
            self._touch(app)
        self._retry_waiting()

    def _retry_waiting(self) -> None:
        """Something was freed: whoever waits for capacity may try again, the longest first."""
        for app in self._apps.values():
            if app.retry_waiting(self._clock()):
                self._touch(app)

    # ---- beginning and end

    def _recovered(self) -> None:
        if self.publisher.is_open:
            return
        for replica_id in self._recovering:
            _logger.warning("Replica %s has not dialled in yet; it is waited for", replica_id)
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
        self._background.run(self._drain_all())

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
        if not self.has_acted_on(name):
            return False
        app = self._apps.get(name)
        return app is None or app.deleting or self._status(app).status in DONE


def _drain_limit(app: App) -> float:
    """How long the end of an app may take, one replica after another."""
    members = app.members.values()
    return sum(app.options_of(m).graceful_shutdown_timeout_s + 2.0 for m in members)
