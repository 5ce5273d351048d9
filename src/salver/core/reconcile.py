"""What to do next so that an app becomes what is wanted: a pure function of what is known.

It may be called at any time and any number of times. Every action that it returns moves its replica
into another phase before the next call, so nothing is in flight twice.

An update is atomic: the new replicas of all deployments start beside the old ones; when the last
of them runs, the views switch and the old ones drain. Until then the old version is upheld, and who
dies of it is replaced; also when the new version cannot start, until something else is wanted.

Where there is no room for both, or a deployment's `surge` says so, old and new are exchanged some
at a time, and serve side by side meanwhile.

A gang that has lost a member ends and is replaced as a whole; see `core.gangs`.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Final

from salver.core.failures import Failures
from salver.core.gangs import assembled, excess, first, together
from salver.core.rollout import (
    RISING,
    Act,
    Action,
    AppKnown,
    Phase,
    Plan,
    Replica,
    Target,
    has_failed,
)
from salver.core.situation import Situation
from salver.spec.ids import DeploymentId

__all__ = ("reconcile",)

STOP_LIMIT_S: Final = 5.0  # between SIGTERM and SIGKILL of one replica, at least
DRAIN_SLACK_S: Final = 1.0  # a replica keeps its own drain limit; this is for one that does not


def reconcile(app: AppKnown, now: float) -> Plan:
    """The next steps for one app."""
    return _Reconciler(app, now).plan()


class _Reconciler:
    """One run: gathers actions, at most one per replica, and the next moment of interest."""

    def __init__(self, app: AppKnown, now: float) -> None:
        self._app = Situation(app)
        self._now = now
        self._acts: dict[str, Action] = {}
        self._creates: list[Action] = []
        self._wake_at: float | None = None

    def plan(self) -> Plan:
        app = self._app
        for deployment in app.deployments():
            for replica in app.known(deployment).replicas:
                self._end_deadline(deployment, replica)
                if replica.id in app.broken and not replica.ends:
                    self._end(deployment, replica)
            self._start_deadlines(deployment)
            if target := app.targets.get(deployment):
                self._tend(deployment, target)
            if standing := app.upheld(deployment):
                self._uphold(deployment, standing)
            self._end_rising(deployment)
        if app.targets:
            self._retire_old()
            self._make_room()
        else:
            self._delete()
        actions = (*self._acts.values(), *self._creates)
        return Plan(
            actions,
            {d: tuple(r.id for r in self._serving(d)) for d in app.deployments()},
            self._wake_at,
            frozenset(d for d in app.targets if app.is_complete(d)),
        )

    # ---- one deployment

    def _serving(self, deployment: DeploymentId) -> list[Replica]:
        """Whom routers may choose, after the actions of this plan."""
        acting = {a.replica for a in self._acts.values() if a.act is not Act.RECONFIGURE}
        old = together([r for r in self._app.old(deployment) if r.id not in acting])
        new = [r for r in self._app.new(deployment) if r.serves and r.id not in acting]
        new = together(new)
        if self._app.exchanges(deployment):
            return old + new
        return old or new

    def _tend(self, deployment: DeploymentId, target: Target) -> None:
        known = self._app.known(deployment)
        new = self._app.new(deployment)
        if self._app.failed and self._app.upheld(deployment):
            keeps = self._app.exchanges(deployment)
            self._end_all(deployment, [r for r in new if not (keeps and r.serves)])
        elif has_failed(target, known):
            self._end_all(deployment, [r for r in new if not r.serves])
        else:
            self._advance(deployment, target, new, known.failures)
            self._count(deployment, target, self._wanted(deployment, target), new, known.failures)

    def _wanted(self, deployment: DeploymentId, target: Target) -> int:
        """How many of the new version there may be now, in whatever state."""
        old = self._app.old(deployment)
        if target.surge is None or not old:
            return target.num_replicas
        serving = [r for r in self._app.new(deployment) if r.serves]
        least = target.num_replicas - (0 if target.surge else target.batch)
        spare = first(old, len(old) + len(serving) - least)
        self._end_all(deployment, spare)
        left = len(old) - len(spare)
        return min(target.num_replicas, target.num_replicas + target.surge - left)

    def _uphold(self, deployment: DeploymentId, standing: Target) -> None:
        """Keep the version before at its strength, less what has been exchanged already."""
        known = self._app.known(deployment)
        own = [
            r for r in known.replicas if r.version == standing.version and not self._app.leaves(r)
        ]
        new = self._app.new(deployment) if self._app.exchanges(deployment) else []
        successors = len([r for r in new if r.serves and r.id not in self._acts])
        self._advance(deployment, standing, own, known.standing_failures)
        wanted = max(0, standing.num_replicas - successors)
        self._count(deployment, standing, wanted, own, known.standing_failures)
        if len([r for r in own if r.serves]) >= wanted:  # then nobody needs what was in between
            others = [r for r in self._app.old(deployment) if r.version != standing.version]
            self._end_all(deployment, others)

    def _end_rising(self, deployment: DeploymentId) -> None:
        """Replicas that are not wanted and never got to serve are of no use to anyone."""
        targets = (self._app.targets.get(deployment), self._app.upheld(deployment))
        wanted = {target.version for target in targets if target is not None}
        rising = [r for r in self._app.known(deployment).replicas if r.version not in wanted]
        self._end_all(deployment, [r for r in rising if not r.ends and not r.serves])

    def _advance(
        self, deployment: DeploymentId, target: Target, replicas: list[Replica], failures: Failures
    ) -> None:
        # While one cannot take the new configuration the others keep the old one.
        free = 0 if failures.starts else target.batch
        free -= len([r for r in replicas if r.phase is Phase.UPDATING])
        ready = assembled(replicas)
        for replica in replicas:
            if replica.phase is Phase.QUEUED and (replica.gang is None or replica.gang.rank == 0):
                self._do(Act.LAUNCH, deployment, replica)
            elif replica.phase is Phase.ATTACHED and replica.id in ready:
                self._do(Act.START, deployment, replica)
            elif replica.phase is Phase.RUNNING and replica.config != target.config and free > 0:
                self._do(Act.RECONFIGURE, deployment, replica)
                free -= 1

    def _count(
        self,
        deployment: DeploymentId,
        target: Target,
        wanted: int,
        replicas: list[Replica],
        failures: Failures,
    ) -> None:
        missing = wanted - len(replicas)
        if missing > 0:
            if self._now >= failures.next_at:
                create = Action(Act.CREATE, deployment, version=target.version)
                self._creates += [create] * ceil(missing / target.gang_size)
            else:
                self._wake(failures.next_at)
        elif len(replicas) > target.num_replicas:
            self._end_all(deployment, excess(replicas, target.num_replicas))

    def _start_deadlines(self, deployment: DeploymentId) -> None:
        known, upheld = self._app.known(deployment), self._app.upheld(deployment)
        target = self._app.targets.get(deployment)
        for replica in known.replicas:
            own = upheld if upheld and replica.version == upheld.version else target
            if own is None:
                continue
            may_give_up = own is target and not (known.settled or has_failed(own, known))
            if replica.phase in _STARTING or replica.phase is Phase.UPDATING:
                begun = replica.created if replica.phase in _STARTING else replica.since
                if self._passed(begun + own.startup_timeout_s):
                    self._do(Act.TIME_OUT, deployment, replica)
            elif (
                replica.phase is Phase.WAITING
                and may_give_up
                and self._passed(replica.created + own.startup_timeout_s)
            ):
                self._do(Act.GIVE_UP, deployment, replica)

    def _end_deadline(self, deployment: DeploymentId, replica: Replica) -> None:
        if replica.phase is Phase.DRAINED:
            self._do(Act.STOP, deployment, replica)
            return
        limit = {
            Phase.DRAINING: replica.end_by + DRAIN_SLACK_S,
            Phase.STOPPING: max(replica.end_by, replica.since + STOP_LIMIT_S),
        }.get(replica.phase)
        if limit is not None and self._passed(limit):
            self._do(Act.KILL, deployment, replica)

    # ---- the whole app

    def _retire_old(self) -> None:
        """Once everything new runs, the old drains; callees that are no longer wanted go last."""
        if not self._app.complete:
            return
        for deployment in self._app.targets:
            self._end_all(deployment, self._app.old(deployment))
        if not any(self._app.lingers(d) for d in self._app.targets):
            self._delete()

    def _delete(self) -> None:
        """Callers drain before callees, so that no call under way loses the ground it stands on."""
        callers_live = False
        for deployment in self._app.removed():
            replicas = self._app.known(deployment).replicas
            for replica in replicas:
                if not replica.ends and not (replica.serves and callers_live):
                    self._end(deployment, replica)
            callers_live = callers_live or bool(replicas)

    def _make_room(self) -> None:
        """A new replica waits for what an old one holds: let some of them go, if nothing moves."""
        replicas = [r for d in self._app.deployments() for r in self._app.known(d).replicas]
        if self._app.complete or self._app.failed or self._acts:
            return
        if any(r.phase in RISING or r.ends for r in replicas):
            return
        for deployment, target in self._app.targets.items():
            waits = [
                r for r in self._app.new(deployment) if r.phase is Phase.WAITING and r.possible
            ]
            if not waits:
                continue
            owner, old = self._victims(deployment)
            victims = first(old, min(len(waits), target.batch))
            for victim in victims:
                self._do(Act.TAKE_TURNS, owner, victim)
            if victims:
                return

    def _victims(self, deployment: DeploymentId) -> tuple[DeploymentId, list[Replica]]:
        """Old replicas of the same deployment, or some that their successors have replaced."""
        done = [d for d in self._app.targets if self._app.is_complete(d)]
        for candidate in (deployment, *done, *self._app.removed()):
            if old := self._app.old(candidate):
                return candidate, old
        return deployment, []

    # ---- small steps

    def _end_all(self, deployment: DeploymentId, replicas: Iterable[Replica]) -> None:
        for replica in replicas:
            self._end(deployment, replica)

    def _end(self, deployment: DeploymentId, replica: Replica) -> None:
        if replica.phase in (Phase.WAITING, Phase.QUEUED):
            self._do(Act.FORGET, deployment, replica)
        elif replica.serves or (replica.found and replica.phase is Phase.ATTACHING):
            self._do(Act.DRAIN, deployment, replica)
        elif replica.phase in (Phase.ATTACHING, Phase.ATTACHED, Phase.STARTING):
            self._do(Act.KILL, deployment, replica)
        # LAUNCHING ends by itself: then it is this one's turn.

    def _do(self, act: Act, deployment: DeploymentId, replica: Replica) -> None:
        """The first decision about a replica stands; ending it outweighs moving it on."""
        known = self._acts.get(replica.id)
        if known is None or known.act in _MOVING:
            self._acts[replica.id] = Action(act, deployment, replica.id)

    def _passed(self, moment: float) -> bool:
        if self._now >= moment:
            return True
        self._wake(moment)
        return False

    def _wake(self, moment: float) -> None:
        self._wake_at = moment if self._wake_at is None else min(self._wake_at, moment)


_MOVING: Final = frozenset({Act.LAUNCH, Act.START, Act.RECONFIGURE})
_STARTING: Final = frozenset({Phase.ATTACHING, Phase.ATTACHED, Phase.STARTING})
