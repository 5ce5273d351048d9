"""What to do next so that an app becomes what is wanted: a pure function of what is known.

It may be called at any time and any number of times. Every action that it returns moves its replica
into another phase before the next call, so nothing is in flight twice.

An update is atomic: the new replicas of all deployments start beside the old ones; when the last
of them runs, the views switch and the old ones drain. Where there is no room for both, old and new
are exchanged one by one. When the new version cannot start, what is left of the old one goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from salver.core.rollout import (
    ENDING,
    RISING,
    SERVING,
    Act,
    Action,
    AppKnown,
    Known,
    Phase,
    Plan,
    Replica,
    Target,
)
from salver.spec.ids import DeploymentId

__all__ = ("has_failed", "reconcile")

STOP_LIMIT_S: Final = 5.0  # between SIGTERM and SIGKILL of one replica, at least
DRAIN_SLACK_S: Final = 1.0  # a replica keeps its own drain limit; this is for one that does not

NOTHING: Final = Known()


def has_failed(target: Target, known: Known) -> bool:
    """This version never ran in full, and no further attempt will be made."""
    failures = known.failures
    return not known.settled and (failures.gave_up or failures.starts >= target.retries)


def reconcile(app: AppKnown, now: float) -> Plan:
    """The next steps for one app."""
    return _Reconciler(app, now).plan()


class _Reconciler:
    """One run: gathers actions, at most one per replica, and the next moment of interest."""

    def __init__(self, app: AppKnown, now: float) -> None:
        self._app = app
        self._now = now
        self._acts: dict[str, Action] = {}
        self._creates: list[Action] = []
        self._wake_at: float | None = None
        self._failed = any(has_failed(t, self._known(d)) for d, t in app.targets.items())
        self._complete = all(self._is_complete(d) for d in app.targets)

    def plan(self) -> Plan:
        app = self._app
        for deployment in self._deployments():
            for replica in self._known(deployment).replicas:
                self._end_deadline(deployment, replica)
        for deployment, target in app.targets.items():
            self._start_deadlines(deployment, target)
            self._tend(deployment, target)
        for deployment in self._removed():
            self._end_rising(deployment)
        if app.targets:
            self._retire_old()
            self._make_room()
        else:
            self._delete()
        actions = (*self._acts.values(), *self._creates)
        return Plan(
            actions,
            {d: tuple(r.id for r in self._serving(d)) for d in self._deployments()},
            self._wake_at,
            frozenset(d for d in app.targets if self._is_complete(d)),
        )

    # ---- what is known

    def _known(self, deployment: DeploymentId) -> Known:
        return self._app.known.get(deployment, NOTHING)

    def _deployments(self) -> Iterable[DeploymentId]:
        return dict.fromkeys((*self._app.targets, *self._app.known))

    def _new(self, deployment: DeploymentId) -> list[Replica]:
        """Of the wanted version, and not on their way out."""
        target = self._app.targets.get(deployment)
        replicas = self._known(deployment).replicas
        return [r for r in replicas if target and r.version == target.version and not _ends(r)]

    def _old(self, deployment: DeploymentId) -> list[Replica]:
        """Of another version, and serving."""
        target = self._app.targets.get(deployment)
        version = target.version if target else None
        replicas = self._known(deployment).replicas
        return [r for r in replicas if r.version != version and _serves(r)]

    def _is_complete(self, deployment: DeploymentId) -> bool:
        serving = [r for r in self._new(deployment) if _serves(r)]
        return len(serving) >= self._app.targets[deployment].num_replicas

    def _serving(self, deployment: DeploymentId) -> list[Replica]:
        """Whom routers may choose, after the actions of this plan."""
        acting = {a.replica for a in self._acts.values() if a.act is not Act.RECONFIGURE}
        old = [r for r in self._old(deployment) if r.id not in acting]
        new = [r for r in self._new(deployment) if _serves(r) and r.id not in acting]
        if self._known(deployment).in_turn:
            return old + new
        return old or new

    # ---- one deployment

    def _tend(self, deployment: DeploymentId, target: Target) -> None:
        known = self._known(deployment)
        new = self._new(deployment)
        if self._failed and self._old(deployment):
            self._end_all(deployment, [r for r in new if not known.in_turn or not _serves(r)])
            return
        if has_failed(target, known):
            self._end_all(deployment, [r for r in new if not _serves(r)])
            return
        for replica in new:
            self._advance(deployment, target, replica)
        self._count(deployment, target, known, new)
        self._end_rising(deployment, but=target.version)

    def _end_rising(self, deployment: DeploymentId, but: str | None = None) -> None:
        """Replicas that are not wanted and never got to serve are of no use to anyone."""
        rising = [r for r in self._known(deployment).replicas if r.version != but]
        self._end_all(deployment, [r for r in rising if not _ends(r) and not _serves(r)])

    def _advance(self, deployment: DeploymentId, target: Target, replica: Replica) -> None:
        if replica.phase is Phase.QUEUED:
            self._do(Act.LAUNCH, deployment, replica)
        elif replica.phase is Phase.ATTACHED:
            self._do(Act.START, deployment, replica)
        elif replica.phase is Phase.RUNNING and replica.config != target.config:
            self._do(Act.RECONFIGURE, deployment, replica)

    def _count(
        self, deployment: DeploymentId, target: Target, known: Known, new: list[Replica]
    ) -> None:
        missing = target.num_replicas - len(new)
        if missing > 0:
            if self._now >= known.failures.next_at:
                self._creates += [Action(Act.CREATE, deployment)] * missing
            else:
                self._wake(known.failures.next_at)
        elif missing < 0:
            # The least advanced go first, then the youngest.
            dear = sorted(new, key=lambda r: (not _serves(r), r.created, r.id))
            self._end_all(deployment, dear[target.num_replicas :])

    def _start_deadlines(self, deployment: DeploymentId, target: Target) -> None:
        known = self._known(deployment)
        may_give_up = not known.settled and not has_failed(target, known)
        for replica in known.replicas:
            if replica.phase in _STARTING or replica.phase is Phase.UPDATING:
                begun = replica.created if replica.phase in _STARTING else replica.since
                if self._passed(begun + target.startup_timeout_s):
                    self._do(Act.TIME_OUT, deployment, replica)
            elif (
                replica.phase is Phase.WAITING
                and may_give_up
                and self._passed(replica.created + target.startup_timeout_s)
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
        if not self._complete:
            return
        for deployment in self._app.targets:
            self._end_all(deployment, self._old(deployment))
        if not any(self._lingers(d) for d in self._app.targets):
            self._delete()

    def _lingers(self, deployment: DeploymentId) -> bool:
        version = self._app.targets[deployment].version
        return any(r.version != version for r in self._known(deployment).replicas)

    def _removed(self) -> list[DeploymentId]:
        """Not wanted any more; callers first."""
        known = [d for d in self._app.known if d not in self._app.targets]
        rank = {d: i for i, d in enumerate(self._app.order)}
        return sorted(known, key=lambda d: rank.get(d, -1), reverse=True)

    def _delete(self) -> None:
        """Callers drain before callees, so that no call under way loses the ground it stands on."""
        callers_live = False
        for deployment in self._removed():
            replicas = self._known(deployment).replicas
            for replica in replicas:
                if not _ends(replica) and not (_serves(replica) and callers_live):
                    self._end(deployment, replica)
            callers_live = callers_live or bool(replicas)

    def _make_room(self) -> None:
        """A new replica waits for what an old one holds: let one old one go, if nothing moves."""
        replicas = [r for d in self._deployments() for r in self._known(d).replicas]
        if self._complete or self._failed or self._acts:
            return
        if any(r.phase in RISING or _ends(r) for r in replicas):
            return
        for deployment in self._app.targets:
            waits = [r for r in self._new(deployment) if r.phase is Phase.WAITING and r.possible]
            if waits and (victim := self._victim(deployment)):
                self._do(Act.TAKE_TURNS, victim[0], victim[1])
                return

    def _victim(self, deployment: DeploymentId) -> tuple[DeploymentId, Replica] | None:
        """An old replica of the same deployment, or one that its successors have replaced."""
        done = [d for d in self._app.targets if self._is_complete(d)]
        for candidate in (deployment, *done, *self._removed()):
            if old := self._old(candidate):
                return candidate, old[0]
        return None

    # ---- small steps

    def _end_all(self, deployment: DeploymentId, replicas: Iterable[Replica]) -> None:
        for replica in replicas:
            self._end(deployment, replica)

    def _end(self, deployment: DeploymentId, replica: Replica) -> None:
        if replica.phase in (Phase.WAITING, Phase.QUEUED):
            self._do(Act.FORGET, deployment, replica)
        elif replica.phase in (Phase.ATTACHING, Phase.ATTACHED, Phase.STARTING):
            self._do(Act.KILL, deployment, replica)
        elif replica.phase is Phase.RUNNING:
            self._do(Act.DRAIN, deployment, replica)
        # LAUNCHING and UPDATING end by themselves: then it is this one's turn.

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


def _ends(replica: Replica) -> bool:
    return replica.phase in ENDING


def _serves(replica: Replica) -> bool:
    return replica.phase in SERVING
