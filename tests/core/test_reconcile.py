"""Reconcile: any order of events leads to what is wanted, and nothing is done twice."""

from __future__ import annotations

import random
from collections.abc import Callable

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


def target(
    version: str = "1",
    n: int = 1,
    *,
    config: str = "",
    retries: int = 3,
    rolling: float = 0.2,
    surge: int | None = None,
) -> Target:
    return Target(version, config, n, 100.0, retries, rolling, surge)


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
                assert self.find(deployment, replica_id).phase in SERVING

    def act(self, action: Action) -> None:  # noqa: C901 - one arm per act
        d, r = action.deployment, action.replica
        match action.act:
            case Act.CREATE:
                self._next += 1
                wanted = self.target_of(d, action.version)
                assert wanted is not None
                version, config = wanted.version, wanted.config
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
                fits = self.processes() < self.room
                self.move(d, replica.id, Phase.ATTACHING if fits else Phase.WAITING)
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


def serving_versions(world: World, d: DeploymentId) -> list[str]:
    return sorted(world.find(d, r).version for r in world.serving[d])


def test_what_dies_of_the_old_version_after_a_failed_update_is_replaced_by_its_like() -> None:
    world = World()
    world.deploy({A: target(n=2), B: target()})
    world.settle()
    world.failing = {"bad"}
    world.deploy({A: target("2", n=3), B: target("bad")})
    world.settle()
    for replica in world.known[A].replicas + world.known[B].replicas:
        world.die(replica_of(world, replica), replica.id)
    assert world.known[A].replicas == ()
    world.settle()
    assert world.running(A) == [("1", "RUNNING")] * 2
    assert world.running(B) == [("1", "RUNNING")]
    assert len(world.serving[A]) == 2
    assert has_failed(world.targets[B], world.known[B])


def replica_of(world: World, replica: Replica) -> DeploymentId:
    return next(d for d, known in world.known.items() if replica in known.replicas)


def test_what_dies_of_the_old_version_during_an_update_is_replaced_meanwhile() -> None:
    world = World()
    world.deploy({A: target(n=2)})
    world.settle()
    world.deploy({A: target("2", n=2)})
    world.step()
    world.die(A, world.serving[A][0])
    for _ in range(20):  # all but the start of the new version
        world.step()
        for replica in world.known[A].replicas:
            if not (replica.version == "2" and replica.phase is Phase.STARTING):
                world.happen(A, replica)
    assert serving_versions(world, A) == ["1", "1"]
    world.settle()
    assert world.running(A) == [("2", "RUNNING")] * 2


def test_an_app_goes_on_with_deployments_that_its_failed_update_no_longer_has() -> None:
    world = World()
    world.deploy({A: target(), B: target()})
    world.settle()
    world.failing = {"bad"}
    world.deploy({B: target("bad")})
    world.settle()
    world.die(A, world.serving[A][0])
    world.settle()
    assert world.running(A) == [("1", "RUNNING")]
    assert len(world.serving[A]) == 1


def test_an_exchange_that_fails_half_way_gets_its_old_replicas_back() -> None:
    world = World(room=3)
    world.deploy({A: target(n=3)})
    world.settle()
    world.failing = {"2"}
    world.deploy({A: target("2", n=3)})
    world.settle()
    assert has_failed(world.targets[A], world.known[A])
    assert world.running(A) == [("1", "RUNNING")] * 3
    assert len(world.serving[A]) == 3


@pytest.mark.parametrize(
    ("percent", "rolling", "surge", "batch"),
    [(20, 0.2, 1, 1), (50, 0.2, 3, 1), (0, 0.2, 0, 1), (0, 0.5, 0, 2)],
)
def test_a_surge_bounds_how_many_run_and_how_few_serve(
    percent: int, rolling: float, surge: int, batch: int
) -> None:
    world = World()
    world.deploy({A: target(n=5)})
    world.settle()
    world.deploy({A: target("2", n=5, surge=percent, rolling=rolling)})
    mixed = False
    for _ in range(200):
        world.step()
        alive = [r for r in world.known[A].replicas if r.phase not in ENDING]
        assert len(alive) <= 5 + surge
        assert len(world.serving[A]) >= 5 - (0 if surge else batch)
        mixed = mixed or len(set(serving_versions(world, A))) == 2
        for replica in world.known[A].replicas:
            world.happen(A, replica)
    assert world.running(A) == [("2", "RUNNING")] * 5
    assert mixed


def test_a_gradual_update_that_fails_keeps_as_many_replicas_as_before() -> None:
    world = World()
    world.deploy({A: target(n=4)})
    world.settle()
    world.failing = {"2"}
    world.deploy({A: target("2", n=4, surge=0, rolling=0.5)})
    world.settle()
    assert world.running(A) == [("1", "RUNNING")] * 4
    assert len(world.serving[A]) == 4


def test_a_new_configuration_reaches_a_batch_of_replicas_at_a_time() -> None:
    world = World()
    world.deploy({A: target(n=5)})
    world.settle()
    world.deploy({A: target(n=5, config="new", rolling=0.4)})
    most = 0
    for _ in range(20):
        world.step()
        most = max(most, sum(r.phase is Phase.UPDATING for r in world.known[A].replicas))
        for replica in world.known[A].replicas:
            world.happen(A, replica)
    assert most == 2
    assert {r.config for r in world.known[A].replicas} == {"new"}


def test_a_configuration_that_fails_costs_one_batch_only() -> None:
    world = World()
    world.deploy({A: target(n=5)})
    world.settle()
    world.failing = {"bad"}
    world.deploy({A: target(n=5, config="bad")})
    for _ in range(100):
        plan = world.step()
        for replica in world.known[A].replicas:
            world.happen(A, replica)
        world.now = plan.wake_at or world.now
    assert len(world.serving[A]) == 4
    assert {world.find(A, r).config for r in world.serving[A]} == {""}


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
    versions=[
        {A: ("1", 1, None), B: ("1", 1, None), C: ("1", 3, None)},
        {A: ("1", 1, None), B: ("2", 3, None)},
        {A: ("1", 3, None)},
    ],
    room=9,
)
@given(
    seed=st.integers(0, 2**32),
    versions=st.lists(
        st.dictionaries(
            st.sampled_from([A, B, C]),
            st.tuples(
                st.sampled_from("123"),
                st.integers(1, 3),
                st.sampled_from([None, None, 0, 30, 100]),
            ),
            min_size=1,
        ),
        min_size=1,
        max_size=4,
    ),
    room=st.integers(9, 20),
)
def test_any_order_of_events_converges(
    seed: int, versions: list[dict[DeploymentId, tuple[str, int, int | None]]], room: int
) -> None:
    """Deploys, deaths and failures in any order: in the end exactly what is wanted runs."""
    chance = random.Random(seed)
    world = World(room)
    for wanted in versions:
        world.deploy(
            {
                d: target(version, n, retries=10**6, surge=surge)
                for d, (version, n, surge) in sorted(wanted.items(), key=lambda entry: entry[0])
            }
        )
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
