"""Reconcile: any order of events leads to what is wanted, and nothing is done twice."""

from __future__ import annotations

import random
import sys
from math import ceil

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from salver.core.failures import Failures, budget
from salver.core.reconcile import reconcile
from salver.core.rollout import (
    ENDING,
    Act,
    AppKnown,
    Phase,
    Replica,
    has_failed,
)
from salver.spec.ids import DeploymentId
from tests.core.reconcile_world import A, B, C, World, replace, target


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
def test_a_given_retry_budget_holds_and_the_default_goes_by_the_replicas(
    replicas: int, count: int, expected: int
) -> None:
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
                st.sampled_from(["1", "2", "3", "g4"]),
                st.integers(1, 3),
                st.sampled_from([None, None, 0, 30, 100]),
            ),
            min_size=1,
        ),
        min_size=1,
        max_size=4,
    ),
    room=st.integers(12, 20),
)
def test_any_order_of_events_converges(
    seed: int, versions: list[dict[DeploymentId, tuple[str, int, int | None]]], room: int
) -> None:
    """Deploys, deaths and failures in any order: in the end exactly what is wanted runs.

    Version g4 comes in gangs of two.
    """
    chance = random.Random(seed)
    world = World(room)
    for wanted in versions:
        world.deploy(
            {
                d: target(
                    version,
                    n if version != "g4" else 2 * ceil(n / 2),
                    retries=10**6,
                    surge=surge,
                    gang=2 if version == "g4" else 1,
                )
                for d, (version, n, surge) in sorted(wanted.items(), key=lambda entry: entry[0])
            }
        )
        for _ in range(chance.randrange(40)):
            world.now += chance.random()
            fails = chance.random() < 0.2
            world.failing = {chance.choice(["1", "2", "3", "g4"])} if fails else set()
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


def calls_of_a_look_at(size: int) -> int:
    """How many functions are called to plan for so many deployments: a measure without a clock."""
    targets = {DeploymentId(str(number), "app"): target() for number in range(size)}
    app = AppKnown(targets, {}, tuple(targets))
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        reconcile(app, 0.0)
    finally:
        sys.setprofile(before)
    return calls


def test_a_look_costs_no_more_for_each_of_many_deployments() -> None:
    assert calls_of_a_look_at(200) < 2.2 * calls_of_a_look_at(100)
