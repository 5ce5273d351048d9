"""Reconcile: any order of events leads to what is wanted, and nothing is done twice."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salver.core.failures import Failures, budget
from salver.core.reconcile import has_failed, reconcile
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

A, B, C = (DeploymentId(name, "app") for name in "ABC")
replace = msgspec.structs.replace


def target(version: str = "1", n: int = 1, *, config: str = "", retries: int = 3) -> Target:
    return Target(version, config, n, startup_timeout_s=100.0, retries=retries)


class World:
    """Plays the engine, the replicas and the controller's memory, under a virtual clock."""

    def __init__(self, room: int = 1000) -> None:
        self.now = 0.0
        self.room = room
        self.targets: dict[DeploymentId, Target] = {}
        self.known: dict[DeploymentId, Known] = {}
        self.order = (A, B, C)
        self.failing: set[str] = set()  # versions whose start fails
        self.serving: dict[DeploymentId, tuple[str, ...]] = {}
        self.log: list[Action] = []
        self._next = 0

    # ---- acting

    def step(self) -> Plan:
        plan = reconcile(AppKnown(self.targets, self.known, self.order), self.now)
        ids = [a.replica for a in plan.actions if a.replica]
        assert len(ids) == len(set(ids)), "two actions for one replica"
        for action in plan.actions:
            self.log.append(action)
            self.act(action)
        for deployment in plan.complete:
            self.known[deployment] = replace(self.known[deployment], settled=True)
        self.serving = dict(plan.serving)
        self.check_serving()
        return plan

    def check_serving(self) -> None:
        for deployment, ids in self.serving.items():
            for replica_id in ids:
                assert self.find(deployment, replica_id).phase in SERVING

    def act(self, action: Action) -> None:  # noqa: C901 - one arm per act
        d, r = action.deployment, action.replica
        match action.act:
            case Act.CREATE:
                self._next += 1
                version, config = self.targets[d].version, self.targets[d].config
                new = Replica(str(self._next), version, config, Phase.QUEUED, self.now, self.now)
                self.put(d, replace(new, phase=Phase.LAUNCHING))
            case Act.LAUNCH:
                assert self.find(d, r).phase is Phase.QUEUED
                self.move(d, r, Phase.LAUNCHING)
            case Act.START:
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
                self.fail(d, "timed out")
                self.move(d, r, Phase.KILLED)
            case Act.GIVE_UP:
                known = self.known[d]
                self.known[d] = replace(known, failures=known.failures.give_up("no room"))

    # ---- what happens by itself

    def happen(self, d: DeploymentId, replica: Replica) -> bool:
        """Let the next thing happen to this replica, if it is not the controller's turn."""
        match replica.phase:
            case Phase.LAUNCHING:
                fits = self.processes() < self.room
                self.move(d, replica.id, Phase.ATTACHING if fits else Phase.WAITING)
            case Phase.ATTACHING:
                self.move(d, replica.id, Phase.ATTACHED)
            case Phase.STARTING if replica.version in self.failing:
                self.fail(d, "boom")
                self.move(d, replica.id, Phase.KILLED)
            case Phase.STARTING:
                self.known[d] = replace(self.known[d], failures=self.known[d].failures.started())
                self.move(d, replica.id, Phase.RUNNING)
            case Phase.UPDATING:
                self.put(
                    d,
                    replace(
                        replica,
                        config=self.targets[d].config if d in self.targets else replica.config,
                        phase=Phase.RUNNING,
                    ),
                )
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
            known = self.known[d]
            failures = known.failures.died(self.now, "died", self.now - replica.since)
            self.known[d] = replace(known, failures=failures)
        elif replica.phase not in ENDING:
            self.fail(d, "died")
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

    def fail(self, d: DeploymentId, why: str) -> None:
        known = self.known[d]
        self.known[d] = replace(known, failures=known.failures.start_failed(self.now, why))

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


def test_brings_up_what_is_wanted() -> None:
    world = World()
    world.deploy({A: target(n=2), B: target(n=1)})
    world.settle()
    assert world.running(A) == [("1", "RUNNING")] * 2
    assert world.running(B) == [("1", "RUNNING")]
    assert len(world.serving[A]) == 2


def test_an_update_switches_when_the_last_new_replica_runs_and_never_leaves_a_gap() -> None:
    world = World()
    world.deploy({A: target(n=2), B: target()})
    world.settle()
    old = {d: world.serving[d] for d in (A, B)}
    world.deploy({A: target("2", n=2), B: target("2")})
    while True:
        world.step()
        serving = {d: world.serving[d] for d in (A, B)}
        if serving != old:
            break
        for d, known in list(world.known.items()):
            for replica in known.replicas:
                world.happen(d, replica)
    assert {world.find(d, r).version for d in serving for r in serving[d]} == {"2"}
    assert len(serving[A]) == 2
    world.settle()
    assert world.running(A) == [("2", "RUNNING")] * 2


def test_a_failed_update_leaves_the_old_replicas_serving() -> None:
    world = World()
    world.deploy({A: target(n=2), B: target()})
    world.settle()
    world.failing = {"bad"}
    world.deploy({A: target("2", n=2), B: target("bad")})
    world.settle()
    assert has_failed(world.targets[B], world.known[B])
    assert world.running(A) == [("1", "RUNNING")] * 2
    assert world.running(B) == [("1", "RUNNING")]
    assert len(world.serving[A]) == 2


def test_without_room_for_both_old_and_new_are_exchanged_one_by_one() -> None:
    world = World(room=3)
    world.deploy({A: target(n=3)})
    world.settle()
    world.deploy({A: target("2", n=3)})
    world.settle()
    assert world.running(A) == [("2", "RUNNING")] * 3
    assert [a.act for a in world.log].count(Act.TAKE_TURNS) >= 2


def test_what_the_machine_can_never_hold_costs_no_old_replica() -> None:
    world = World(room=1)
    world.deploy({A: target(n=1)})
    world.settle()
    world.deploy({A: target("2", n=1)})
    world.step()
    for _ in range(3):
        for replica in world.known[A].replicas:
            world.happen(A, replica)
    waiting = next(r for r in world.known[A].replicas if r.phase is Phase.WAITING)
    world.put(A, replace(waiting, possible=False))
    world.settle()
    assert world.running(A) == [("1", "RUNNING")]
    assert world.known[A].failures.gave_up


def test_a_constructor_that_fails_is_tried_again_with_growing_pauses_then_given_up() -> None:
    world = World()
    world.failing = {"1"}
    world.deploy({A: target(retries=5)})
    world.settle()
    assert world.known[A].failures.starts == 5
    assert world.known[A].replicas == ()
    assert world.now == pytest.approx(0.25 + 0.5 + 1 + 2)


def test_delete_drains_callers_before_callees() -> None:
    world = World()
    world.deploy({A: target(n=2), B: target(), C: target()})
    world.settle()
    world.log.clear()
    world.targets = {}
    world.settle()
    assert [a.deployment for a in world.log if a.act is Act.DRAIN] == [C, B, A, A]
    assert all(k.replicas == () for k in world.known.values())


def test_a_deployment_that_is_no_longer_wanted_outlives_its_old_callers() -> None:
    world = World()
    world.deploy({A: target(), B: target()})
    world.settle()
    world.log.clear()
    world.deploy({B: target("2")})
    world.settle()
    assert [a.deployment for a in world.log if a.act is Act.DRAIN] == [B, A]
    assert world.known[A].replicas == ()


def test_a_change_of_config_touches_no_process() -> None:
    world = World()
    world.deploy({A: target(n=2)})
    world.settle()
    world.log.clear()
    world.deploy({A: target(n=2, config="new")})
    world.settle()
    assert [a.act for a in world.log] == [Act.RECONFIGURE] * 2


def test_a_replica_that_drains_too_long_is_killed() -> None:
    world = World()
    world.deploy({A: target()})
    world.settle()
    world.targets = {}
    world.step()
    world.now += 20.0
    world.step()
    assert world.running(A) == [("1", "DRAINING")]
    world.now += 1.0
    world.step()
    assert world.running(A) == [("1", "KILLED")]


def test_a_destructor_has_what_is_left_of_the_time_to_drain() -> None:
    world = World()
    world.deploy({A: target()})
    world.settle()
    world.targets = {}
    world.step()
    world.now += 3.0
    world.happen(A, world.known[A].replicas[0])
    world.step()
    assert world.running(A) == [("1", "STOPPING")]
    world.now += 16.0
    world.step()
    assert world.running(A) == [("1", "STOPPING")]
    world.now += 1.0
    world.step()
    assert world.running(A) == [("1", "KILLED")]


def test_the_first_restart_is_at_once_and_later_ones_wait_longer_up_to_a_bound() -> None:
    failures = Failures()
    waits = []
    for _ in range(20):
        failures = failures.died(0.0, "died", lived_s=1.0)
        waits.append(failures.next_at)
    assert waits[0] == 0.0
    assert waits == sorted(waits)
    assert max(waits) == 30.0
    assert failures.died(0.0, "died", lived_s=61.0).next_at == 0.0


@pytest.mark.parametrize(("replicas", "count", "expected"), [(1, 20, 3), (9, 20, 20), (1, 7, 7)])
def test_retry_budget(replicas: int, count: int, expected: int) -> None:
    assert budget(replicas, count) == expected


@settings(max_examples=150, deadline=None)
@example(  # the room that B and C had begun to take when they were removed
    seed=240,
    versions=[{A: ("1", 1), B: ("1", 1), C: ("1", 3)}, {A: ("1", 1), B: ("2", 3)}, {A: ("1", 3)}],
    room=9,
)
@given(
    seed=st.integers(0, 2**32),
    versions=st.lists(
        st.dictionaries(
            st.sampled_from([A, B, C]),
            st.tuples(st.sampled_from("123"), st.integers(1, 3)),
            min_size=1,
        ),
        min_size=1,
        max_size=4,
    ),
    room=st.integers(9, 20),
)
def test_any_order_of_events_converges(
    seed: int, versions: list[dict[DeploymentId, tuple[str, int]]], room: int
) -> None:
    """Deploys, deaths and failures in any order: in the end exactly what is wanted runs."""
    chance = random.Random(seed)
    world = World(room)
    for wanted in versions:
        world.deploy({d: target(v, n, retries=10**6) for d, (v, n) in sorted(wanted.items())})
        for _ in range(chance.randrange(40)):
            world.now += chance.random()
            world.failing = {chance.choice("123")} if chance.random() < 0.2 else set()
            living = [(d, r) for d, k in world.known.items() for r in k.replicas]
            if living and chance.random() < 0.7:
                d, replica = chance.choice(living)
                has_process = replica.phase not in (Phase.WAITING, Phase.QUEUED, Phase.LAUNCHING)
                if chance.random() < 0.1 and has_process:
                    world.die(d, replica.id)
                else:
                    world.happen(d, replica)
            else:
                world.step()
    world.failing = set()
    world.settle()
    for deployment, known in world.known.items():
        wanted_now = world.targets.get(deployment)
        expected = [(wanted_now.version, "RUNNING")] * wanted_now.num_replicas if wanted_now else []
        assert world.running(deployment) == expected
        assert len(world.serving.get(deployment, ())) == len(known.replicas)
