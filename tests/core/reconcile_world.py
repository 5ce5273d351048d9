"""A world for reconcile: the engine, the replicas and the controller's memory, made up."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from salver.core.failures import Failures
from salver.core.reconcile import reconcile
from salver.core.rollout import (
    ENDING,
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
from salver.spec.start import GangContext

A, B, C = (DeploymentId(name, "app") for name in "ABC")
replace = msgspec.structs.replace


def target(
    version: str = "1",
    n: int = 1,
    *,
    config: str = "",
    retries: int = 3,
    rolling: float = 0.2,
    surge: int | None = None,
    gang: int = 1,
) -> Target:
    return Target(version, config, n, 100.0, retries, rolling, surge, gang)


class World:
    """Plays the engine, the replicas and the controller's memory, under a virtual clock."""

    def __init__(self, room: int = 1000) -> None:
        self.now = 0.0
        self.room = room
        self.targets: dict[DeploymentId, Target] = {}
        self.standing: dict[DeploymentId, Target] = {}
        self.known: dict[DeploymentId, Known] = {}
        self.order = (A, B, C)
        self.failing: set[str] = set()  # versions whose start fails
        self.serving: dict[DeploymentId, tuple[str, ...]] = {}
        self.log: list[Action] = []
        self._next = 0

    # ---- acting

    def step(self) -> Plan:
        standing = self.standing if self.targets else {}
        plan = reconcile(AppKnown(self.targets, self.known, self.order, standing), self.now)
        ids = [a.replica for a in plan.actions if a.replica]
        assert len(ids) == len(set(ids)), "two actions for one replica"
        for action in plan.actions:
            self.log.append(action)
            self.act(action)
        for deployment in plan.complete:
            self.known[deployment] = replace(self.known[deployment], settled=True)
        if self.targets and plan.complete >= self.targets.keys():
            self.standing = self.targets
        self.serving = dict(plan.serving)
        self.check_serving()
        return plan

    def check_serving(self) -> None:
        for deployment, ids in self.serving.items():
            for replica_id in ids:
                found = self.find(deployment, replica_id)
                assert found.phase in SERVING
                assert found.gang is None or set(found.gang.member_replica_ids) <= set(ids)

    def act(self, action: Action) -> None:  # noqa: C901 - one arm per act
        d, r = action.deployment, action.replica
        match action.act:
            case Act.CREATE:
                wanted = self.target_of(d, action.version)
                assert wanted is not None
                self.create(d, wanted)
            case Act.LAUNCH:
                for member in self.gang(d, r):
                    assert member.phase is Phase.QUEUED
                    self.move(d, member.id, Phase.LAUNCHING)
            case Act.START:
                assert {m.phase for m in self.gang(d, r)} <= SERVING | {
                    Phase.ATTACHED,
                    Phase.STARTING,
                }
                assert self.find(d, r).phase is Phase.ATTACHED
                self.move(d, r, Phase.STARTING)
            case Act.RECONFIGURE:
                assert self.find(d, r).phase is Phase.RUNNING
                self.move(d, r, Phase.UPDATING)
            case Act.DRAIN | Act.TAKE_TURNS:
                assert self.find(d, r).phase is Phase.RUNNING
                self.move(d, r, Phase.DRAINING)
                self.put(d, replace(self.find(d, r), end_by=self.now + 20.0))
                if action.act is Act.TAKE_TURNS:
                    self.known[d] = replace(self.known[d], in_turn=True)
            case Act.STOP:
                self.move(d, r, Phase.STOPPING)
            case Act.KILL:
                assert self.find(d, r).phase not in (Phase.WAITING, Phase.QUEUED, Phase.KILLED)
                self.move(d, r, Phase.KILLED)
            case Act.FORGET:
                assert self.find(d, r).phase in (Phase.WAITING, Phase.QUEUED)
                self.drop(d, r)
            case Act.TIME_OUT:
                self.fail(d, "timed out", self.find(d, r).version)
                self.move(d, r, Phase.KILLED)
            case Act.GIVE_UP:
                known = self.known[d]
                self.known[d] = replace(known, failures=known.failures.give_up("no room"))

    # ---- what happens by itself

    def happen(self, d: DeploymentId, replica: Replica) -> bool:
        """Let the next thing happen to this replica, if it is not the controller's turn."""
        match replica.phase:
            case Phase.LAUNCHING:
                gang = self.gang(d, replica.id)
                fits = self.processes() + len(gang) <= self.room
                for member in gang:
                    self.move(d, member.id, Phase.ATTACHING if fits else Phase.WAITING)
            case Phase.ATTACHING:
                self.move(d, replica.id, Phase.ATTACHED)
            case Phase.STARTING if {replica.version, replica.config} & self.failing:
                self.fail(d, "boom", replica.version)
                self.move(d, replica.id, Phase.KILLED)
            case Phase.STARTING:
                self.learn(d, replica.version, lambda failures: failures.started())
                self.move(d, replica.id, Phase.RUNNING)
            case Phase.UPDATING:
                wanted = self.target_of(d, replica.version)
                config = wanted.config if wanted else replica.config
                if config in self.failing:
                    self.fail(d, "boom", replica.version)
                    self.move(d, replica.id, Phase.KILLED)
                else:
                    self.put(d, replace(replica, config=config, phase=Phase.RUNNING))
            case Phase.DRAINING:
                self.move(d, replica.id, Phase.DRAINED)
            case Phase.STOPPING | Phase.KILLED:
                self.die(d, replica.id)
            case _:
                return False
        return True

    def die(self, d: DeploymentId, replica_id: str) -> None:
        replica = self.find(d, replica_id)
        if replica.phase in SERVING:
            lived = self.now - replica.since
            self.learn(d, replica.version, lambda f: f.died(self.now, "died", lived))
        elif replica.phase not in ENDING:
            self.fail(d, "died", replica.version)
        self.drop(d, replica_id)
        for other, known in list(self.known.items()):
            for waiting in known.replicas:
                if waiting.phase is Phase.WAITING:
                    self.move(other, waiting.id, Phase.QUEUED)

    # ---- memory

    def processes(self) -> int:
        return sum(
            r.phase not in (Phase.WAITING, Phase.QUEUED, Phase.LAUNCHING)
            for k in self.known.values()
            for r in k.replicas
        )

    def create(self, d: DeploymentId, wanted: Target) -> None:
        names = [str(self._next + i) for i in range(1, wanted.gang_size + 1)]
        self._next += len(names)
        for rank, name in enumerate(names):
            gang = GangContext(names[0], rank, len(names), names) if len(names) > 1 else None
            version, config = wanted.version, wanted.config
            new = Replica(name, version, config, Phase.LAUNCHING, self.now, self.now, gang=gang)
            self.put(d, new)

    def gang(self, d: DeploymentId, replica_id: str) -> list[Replica]:
        """The members of its gang that there are; itself, if it has none."""
        own = self.find(d, replica_id)
        names = own.gang.member_replica_ids if own.gang else [replica_id]
        return [r for r in self.known[d].replicas if r.id in names]

    def find(self, d: DeploymentId, replica_id: str) -> Replica:
        return next(r for r in self.known[d].replicas if r.id == replica_id)

    def move(self, d: DeploymentId, replica_id: str, phase: Phase) -> None:
        self.put(d, replace(self.find(d, replica_id), phase=phase, since=self.now))

    def put(self, d: DeploymentId, replica: Replica) -> None:
        known = self.known.get(d, Known())
        rest = [r for r in known.replicas if r.id != replica.id]
        self.known[d] = replace(known, replicas=(*rest, replica))

    def drop(self, d: DeploymentId, replica_id: str) -> None:
        rest = tuple(r for r in self.known[d].replicas if r.id != replica_id)
        self.known[d] = replace(self.known[d], replicas=rest)

    def target_of(self, d: DeploymentId, version: str) -> Target | None:
        targets = (self.targets.get(d), self.standing.get(d))
        return next((t for t in targets if t and t.version == version), None)

    def fail(self, d: DeploymentId, why: str, version: str) -> None:
        self.learn(d, version, lambda failures: failures.start_failed(self.now, why))

    def learn(self, d: DeploymentId, version: str, news: Callable[[Failures], Failures]) -> None:
        """Each version has a memory of its own."""
        known = self.known[d]
        if d in self.targets and self.targets[d].version == version:
            self.known[d] = replace(known, failures=news(known.failures))
        elif d in self.standing and self.standing[d].version == version:
            self.known[d] = replace(known, standing_failures=news(known.standing_failures))

    # ---- running

    def deploy(self, targets: dict[DeploymentId, Target]) -> None:
        for d, wanted in targets.items():
            known = self.known.get(d, Known())
            if d not in self.targets or self.targets[d].version != wanted.version:
                known = Known(known.replicas)
            self.known[d] = known
        self.targets = targets

    def settle(self, limit: int = 2000) -> None:
        """Until nothing happens any more, the clock jumping when all wait."""
        for _ in range(limit):
            plan = self.step()
            moved = any(self.happen(d, r) for d, k in list(self.known.items()) for r in k.replicas)
            if moved or plan.actions:
                continue
            if plan.wake_at is None:
                return
            assert plan.wake_at > self.now, "a wake-up in the past: a busy loop"
            self.now = plan.wake_at
        raise AssertionError("it never settles")

    def running(self, d: DeploymentId) -> list[tuple[str, str]]:
        return sorted((r.version, r.phase) for r in self.known[d].replicas)
