"""Gangs: what starts, serves and ends together."""

from __future__ import annotations

from salver.core.gangs import excess, first
from salver.core.rollout import SERVING, Act, Phase, Replica
from salver.spec.start import GangContext
from tests.core.reconcile_world import A, World, target


def replica(name: str, gang: str = "", *, size: int = 2, phase: Phase = Phase.RUNNING) -> Replica:
    context = GangContext(gang, 0, size, []) if gang else None
    return Replica(name, "1", "", phase, created=float(name[-1]), since=0.0, gang=context)


def names(replicas: list[Replica]) -> list[str]:
    return [r.id for r in replicas]


def test_one_gang_more_is_better_than_half_a_gang() -> None:
    four = [replica("a1", "a"), replica("b1", "b"), replica("a2", "a"), replica("b2", "b")]
    assert names(first(four, 1)) == ["a1", "a2"]
    assert names(first(four, 3)) == ["a1", "a2", "b1", "b2"]
    assert first(four, 0) == []


def test_gangs_that_do_not_serve_yet_are_given_up_first_and_then_the_youngest() -> None:
    old, young = [replica("a1", "a"), replica("a2", "a")], [replica("b3", "b"), replica("b4", "b")]
    rising = [replica("c1", "c"), replica("c2", "c", phase=Phase.STARTING)]
    assert names(excess([*rising, *young, *old], 4)) == ["c1", "c2"]
    assert names(excess([*rising, *young, *old], 2)) == ["b3", "b4", "c1", "c2"]


def test_members_are_constructed_when_all_of_them_have_a_process() -> None:
    world = World()
    world.deploy({A: target(n=2, gang=2)})
    world.step()
    one, two = world.known[A].replicas
    for _ in range(2):  # a process, that has dialled in
        world.happen(A, world.find(A, one.id))
    assert world.step().actions == ()
    for _ in range(2):
        world.happen(A, world.find(A, two.id))
    assert [a.act for a in world.step().actions] == [Act.START, Act.START]


def test_a_gang_serves_when_all_of_it_runs() -> None:
    world = World()
    world.deploy({A: target(n=4, gang=2)})
    world.step()
    for _ in range(2):
        for each in world.known[A].replicas:
            world.happen(A, world.find(A, each.id))
        world.step()
    first_gang = world.known[A].replicas[0].gang
    assert first_gang is not None
    lead, other = first_gang.member_replica_ids
    world.happen(A, world.find(A, lead))
    assert world.find(A, lead).phase in SERVING
    assert world.step().serving[A] == ()
    world.happen(A, world.find(A, other))
    assert set(world.step().serving[A]) == {lead, other}


def test_a_death_ends_the_whole_gang_and_no_other_and_a_new_gang_takes_its_place() -> None:
    world = World()
    world.deploy({A: target(n=4, gang=2)})
    world.settle()
    victim, *others = sorted(world.known[A].replicas, key=lambda r: int(r.id))
    assert victim.gang is not None
    world.die(A, victim.id)
    plan = world.step()
    sibling = victim.gang.member_replica_ids[1]
    assert sibling not in plan.serving[A]
    assert world.find(A, sibling).phase is Phase.DRAINING
    world.settle()
    after = {r.id for r in world.known[A].replicas}
    assert after & {r.id for r in others} == {r.id for r in others} - {sibling}
    assert len(world.serving[A]) == 4


def test_a_gang_that_half_fits_takes_nothing() -> None:
    world = World(room=3)
    world.deploy({A: target(n=4, gang=2)})
    for _ in range(6):
        world.step()
        for each in world.known[A].replicas:
            world.happen(A, world.find(A, each.id))
    phases = sorted(str(r.phase) for r in world.known[A].replicas)
    assert phases == ["RUNNING", "RUNNING", "WAITING", "WAITING"]
    running = next(r for r in world.known[A].replicas if r.phase in SERVING)
    world.die(A, running.id)  # its sibling goes too, and both gangs try again
    world.settle()
    assert world.processes() == 2


def test_where_one_member_cannot_start_none_is_left() -> None:
    world = World()
    world.failing = {"1"}
    world.deploy({A: target(n=2, gang=2, retries=3)})
    world.settle()
    assert world.known[A].replicas == ()
    assert world.known[A].failures.starts >= 3


def test_from_gangs_of_two_to_gangs_of_three_and_to_none_at_all() -> None:
    world = World()
    for wanted in (
        target("1", n=4, gang=2, surge=0),
        target("2", n=6, gang=3, surge=0),
        target("3", n=2, surge=0),
    ):
        world.deploy({A: wanted})
        world.settle()
        assert world.running(A) == [(wanted.version, "RUNNING")] * wanted.num_replicas
        assert len(world.serving[A]) == wanted.num_replicas
