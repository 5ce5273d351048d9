"""Carries out what reconcile decided: each action is one task at most, and ends in a new phase."""

from __future__ import annotations

import logging
import secrets
import traceback
from collections.abc import Callable
from typing import Any, Final

import msgspec

from salver.control.background import Background
from salver.control.events import Events
from salver.control.members import App, Member
from salver.control.outcomes import Outcomes
from salver.control.recovery import labels_of
from salver.control.targets import resources_of
from salver.core.ports import Engine, ProcessSpec
from salver.core.rollout import Act, Action, Phase, Replica
from salver.errors import CapacityError, EngineError, SalverError
from salver.spec.ids import ReplicaId
from salver.spec.start import Attachment, Change, GangContext, Place, StartSpec

__all__ = ("Steps",)

_logger: Final = logging.getLogger("salver.control")

KIND: Final = "replica"


class Steps:
    """Acts through the engine and the replicas' lines; `touch` says that something has changed."""

    def __init__(
        self,
        engine: Engine,
        events: Events,
        outcomes: Outcomes,
        clock: Callable[[], float],
        touch: Callable[[App], None],
    ) -> None:
        self._engine = engine
        self._events = events
        self._outcomes = outcomes
        self._clock = clock
        self._touch = touch
        self._background = Background()

    def take(self, app: App, action: Action) -> None:
        """Begin this action; the replica is in its new phase when this returns."""
        if action.act is Act.CREATE:
            self._create(app, action)
            return
        member = app.members.get(action.replica)
        if member is not None:
            _STEPS[action.act](self, app, member)

    async def close(self) -> None:
        """Abandon what is under way."""
        await self._background.close()

    # ---- a replica's rise

    def _create(self, app: App, action: Action) -> None:
        release = app.release_of(action.deployment, action.version)
        if release is None:
            return
        target = release.targets[action.deployment]
        now = self._clock()
        names = [secrets.token_hex(4) for _ in range(target.gang_size)]
        gang_id = secrets.token_hex(4)
        route = release.spec.route_prefix
        members = []
        for rank, unique in enumerate(names):
            name = str(ReplicaId(unique, action.deployment))
            gang = GangContext(gang_id, rank, len(names), names) if len(names) > 1 else None
            replica = Replica(
                name, target.version, target.config, Phase.LAUNCHING, now, now, gang=gang
            )
            app.members[name] = member = Member(action.deployment, replica, route)
            members.append(member)
        self._background.run(self._launched(app, members))

    def _launch(self, app: App, member: Member) -> None:
        members = app.gang_of(member)
        for one in members:
            self._enter(one, Phase.LAUNCHING)
        self._background.run(self._launched(app, members))

    async def _launched(self, app: App, members: list[Member]) -> None:
        """Of one gang, or a single one: there is room for all of them or for none."""
        spec = app.part_of(members[0])
        if spec is None:  # not wanted any more
            self._drop(app, members)
            return
        resources = resources_of(spec)
        processes = [
            ProcessSpec(
                id=member.replica.id,
                kind=KIND,
                resources=resources,
                env=dict(spec.options.env_vars),
                labels=labels_of(app, member),
            )
            for member in members
        ]
        try:
            await self._engine.start(*processes)
        except CapacityError as error:
            possible = self._engine.fits(resources.times(len(members)))
            for member in members:
                self._refused(member, str(error), possible=possible)
        except EngineError as error:
            self._outcomes.start_failed(app, members[0], str(error))
            self._drop(app, members)
        else:
            for member in members:
                member.shortage = ""
                if member.replica.phase is Phase.LAUNCHING:
                    self._enter(member, Phase.ATTACHED if member.peer else Phase.ATTACHING)
        self._touch(app)

    def _refused(self, member: Member, message: str, *, possible: bool) -> None:
        if message != member.shortage:
            self._events.emit(member.replica.id, "WAITING", message)
        member.shortage = message
        self._enter(member, Phase.WAITING)
        member.replica = msgspec.structs.replace(member.replica, possible=possible)

    def _drop(self, app: App, members: list[Member]) -> None:
        for member in members:
            app.members.pop(member.replica.id, None)
        self._touch(app)

    def _start(self, app: App, member: Member) -> None:
        release = app.release_of(member.deployment, member.replica.version)
        if release is None:
            return
        self._enter(member, Phase.STARTING)
        siblings = app.of(member.deployment)
        member.place = app.places(siblings)[member.replica.id]
        part = release.parts[member.deployment]
        start = StartSpec(
            deployment=part,
            replica_id=member.replica.id,
            route_prefix=release.spec.route_prefix,
            sys_path=(*part.sys_path, *release.spec.sys_path),
            cwd=part.cwd or release.spec.cwd,
            place=member.place,
            gang=member.replica.gang,
        )
        self._events.emit(member.replica.id, "STARTING")
        self._background.run(self._started(app, member, start))

    async def _started(self, app: App, member: Member, start: StartSpec) -> None:
        error = await self._ask(member, "start", start)
        if member.replica.phase is not Phase.STARTING:
            return
        if error is None:
            self._enter(member, Phase.RUNNING)
            self._outcomes.started(app, member)
        elif not isinstance(error, ConnectionError):  # else its death is reported, with the cause
            self._outcomes.start_failed(app, member, _told(error))
            self._kill(app, member)
        elif member.peer is None or not member.peer.is_open:
            self._enter(member, Phase.ATTACHING)  # should it live, it dials again
        self._touch(app)

    def _reconfigure(self, app: App, member: Member) -> None:
        release = app.release_of(member.deployment, member.replica.version)
        if release is None:
            return
        self._enter(member, Phase.UPDATING)
        change = Change(app.options_of(member), release.spec.route_prefix)
        config = release.targets[member.deployment].config
        self._background.run(self._reconfigured(app, member, config, change))

    async def _reconfigured(self, app: App, member: Member, config: str, change: Change) -> None:
        error = await self._ask(member, "reconfigure", change)
        if member.replica.phase is not Phase.UPDATING:
            return
        if error is None:
            member.replica = msgspec.structs.replace(member.replica, config=config)
            member.route = change.route_prefix
            self._enter(member, Phase.RUNNING)
        elif not isinstance(error, ConnectionError):
            self._outcomes.start_failed(app, member, _told(error))
            self._kill(app, member)
        self._touch(app)

    def place(self, app: App) -> None:
        """Tell those whose place among their siblings has changed."""
        for name, place in app.places().items():
            member = app.members[name]
            if place != member.place and member.replica.serves:
                before, member.place = member.place, place
                self._background.run(self._placed(app, member, before))

    async def _placed(self, app: App, member: Member, before: Place | None) -> None:
        error = await self._ask(member, "place", member.place)
        if isinstance(error, ConnectionError):
            member.place = before  # should it dial in again, it is told again
        elif error is not None and member.replica.serves:
            self._outcomes.start_failed(app, member, _told(error))
            self._kill(app, member)
            self._touch(app)

    def go_on(self, app: App, member: Member, said: Attachment) -> None:
        """It has dialled in, perhaps with what an earlier controller has told it."""
        phase, works = member.replica.phase, said.state in ("running", "draining")
        if phase is Phase.ATTACHING and said.state == "draining":
            self.drain(app, member)
        elif phase is Phase.ATTACHING and said.state == "running":
            member.place, member.route = said.place, said.route_prefix
            self._enter(member, Phase.RUNNING)
        elif phase is Phase.DRAINING and works:
            self._go_on_draining(app, member)
        elif phase in (Phase.ATTACHING, Phase.STARTING, Phase.DRAINING):
            # Its line broke while it started: ask again. Or it turns out to have nothing to drain.
            self._enter(member, Phase.ATTACHED)

    # ---- and its end

    def drain(self, app: App, member: Member) -> None:
        """Let it finish what it has, and end."""
        self._enter(member, Phase.DRAINING)
        limit = app.options_of(member).graceful_shutdown_timeout_s
        end_by = self._clock() + limit
        member.replica = msgspec.structs.replace(member.replica, end_by=end_by)
        self._events.emit(member.replica.id, "STOPPING")
        if member.peer is not None:  # else it is told when it dials in; its time runs
            self._background.run(self._drained(app, member, limit))

    def _go_on_draining(self, app: App, member: Member) -> None:
        """It has dialled in while its time to drain runs."""
        left = member.replica.end_by - self._clock()
        self._background.run(self._drained(app, member, left))

    async def _drained(self, app: App, member: Member, limit_s: float) -> None:
        error = await self._ask(member, "drain", {"timeout_s": limit_s})
        if error is not None and not isinstance(error, ConnectionError):
            _logger.warning("%s could not drain: %s", member.replica.id, error)
        if member.replica.phase is Phase.DRAINING:
            self._enter(member, Phase.DRAINED)
            self._touch(app)

    def _take_turns(self, app: App, member: Member) -> None:
        app.memory(member.deployment).in_turn = True
        self.drain(app, member)

    def _stop(self, _app: App, member: Member) -> None:
        self._enter(member, Phase.STOPPING)
        self._background.run(self._engine.stop(member.replica.id))

    def _kill(self, _app: App, member: Member) -> None:
        self._enter(member, Phase.KILLED)
        self._background.run(self._engine.stop(member.replica.id, force=True))

    def _forget(self, app: App, member: Member) -> None:
        self._drop(app, [member])

    def _time_out(self, app: App, member: Member) -> None:
        waited = self._clock() - member.replica.created
        limit = app.options_of(member).startup_timeout_s
        self._outcomes.start_failed(
            app,
            member,
            f"did not start within {waited:.0f}s. (The limit is startup_timeout_s={limit:g}.)",
        )
        self._kill(app, member)

    def _give_up(self, app: App, member: Member) -> None:
        limit = app.options_of(member).startup_timeout_s
        message = f"no room for {limit:g}s (startup_timeout_s): {member.shortage}"
        self._outcomes.gave_up(app, member, message)
        self._touch(app)

    # ---- small

    def _enter(self, member: Member, phase: Phase) -> None:
        member.enter(phase, self._clock())

    async def _ask(self, member: Member, method: str, body: Any) -> Exception | None:
        """Call the replica; return what went wrong. ConnectionError: the line is gone."""
        peer = member.peer
        if peer is None or not peer.is_open:
            return ConnectionError("not attached")
        try:
            await peer.call(method, body)
        except Exception as error:  # noqa: BLE001 - boundary: whatever users' code raised
            return error if peer.is_open else ConnectionError(str(error))
        return None


def _told(error: Exception) -> str:
    """An error as users should read it: with the replica's traceback where there is one."""
    if isinstance(error, SalverError):
        return str(error)
    return "".join(traceback.format_exception_only(error)).rstrip()


_STEPS: Final[dict[Act, Callable[[Steps, App, Member], None]]] = {
    Act.LAUNCH: Steps._launch,
    Act.START: Steps._start,
    Act.RECONFIGURE: Steps._reconfigure,
    Act.DRAIN: Steps.drain,
    Act.STOP: Steps._stop,
    Act.KILL: Steps._kill,
    Act.FORGET: Steps._forget,
    Act.TIME_OUT: Steps._time_out,
    Act.GIVE_UP: Steps._give_up,
    Act.TAKE_TURNS: Steps._take_turns,
}
