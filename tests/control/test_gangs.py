"""Gangs under the controller: what members are told, deaths, scaling, a new controller."""

from __future__ import annotations

from typing import Any

from salver.control.controller import Controller
from salver.control.store import MemoryStore
from salver.core.ports import Resources
from salver.spec.app import AppSpec
from salver.spec.placement import GangSchedulingConfig
from salver.spec.start import GangContext
from salver.spec.status import ApplicationStatus, DeploymentStatus
from tests.control.test_controller import (
    Directory,
    FakeEngine,
    app,
    controlling,
    run,
    until,
)


def gangs(size: int = 2, **options: Any) -> AppSpec:
    gang = GangSchedulingConfig(gang_size=size)
    return app(deployments=("Door",), gang_scheduling_config=gang, **options)


def message(controller: Controller) -> str:
    return controller.status().applications["app"].message


def contexts(engine: FakeEngine) -> list[GangContext]:
    specs = [r.start_spec for r in engine.replicas.values() if r.start_spec is not None]
    return [spec.gang for spec in specs if spec.gang is not None]


async def test_every_member_is_told_its_gang_and_its_place_in_it() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, gangs(num_replicas=4))
        told = contexts(engine)
        assert sorted(c.rank for c in told) == [0, 0, 1, 1]
        assert {c.world_size for c in told} == {2}
        for gang_id in {c.gang_id for c in told}:
            one, other = (c for c in told if c.gang_id == gang_id)
            assert one.member_replica_ids == other.member_replica_ids
        names = {name.rsplit("#", 1)[1] for name in engine.replicas}
        assert {m for c in told for m in c.member_replica_ids} == names


async def test_without_a_gang_there_is_no_context() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, gangs(1, num_replicas=2))
        assert contexts(engine) == []


async def test_a_member_s_death_restarts_its_gang_and_leaves_the_other() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        directory = Directory(controller)
        await run(controller, gangs(num_replicas=4))
        before = set(engine.replicas)
        victim = next(iter(engine.replicas.values()))
        assert victim.start_spec is not None
        assert victim.start_spec.gang is not None
        gang = victim.start_spec.gang
        lost = {n for n in before if n.rsplit("#", 1)[1] in gang.member_replica_ids}
        engine.die(victim.spec.id, signal=9)
        await until(controller, lambda: len(engine.replicas) == 4 and not lost & {*engine.replicas})
        assert before - lost < set(engine.replicas)
        await controller.wait("app")
        assert len({c.gang_id for c in contexts(engine)}) == 2
        (view,) = directory.views.values()
        assert {r.id for r in view.replicas} == set(engine.replicas)


async def test_gangs_come_and_go_whole_when_it_is_scaled() -> None:
    engine = FakeEngine()
    async with controlling(engine) as controller:
        await run(controller, gangs(num_replicas=2))
        first = set(engine.replicas)
        await run(controller, gangs(num_replicas=6))
        assert first < set(engine.replicas)
        await run(controller, gangs(num_replicas=4))
        await until(controller, lambda: len(engine.replicas) == 4)
        assert first < set(engine.replicas)
        sizes = [c.gang_id for c in contexts(engine)]
        assert all(sizes.count(gang_id) == 2 for gang_id in sizes)


async def test_a_gang_waits_for_room_for_all_of_it() -> None:
    engine = FakeEngine(cpus=3)
    async with controlling(engine) as controller:
        controller.deploy(gangs(num_replicas=4, num_cpus=1.0))
        await until(controller, lambda: "needs num_cpus=2" in message(controller))
        assert await engine.capacity() == (Resources(3), Resources(1))


async def test_a_new_controller_knows_the_gangs() -> None:
    engine, store = FakeEngine(), MemoryStore()
    async with controlling(engine, store) as controller:
        await run(controller, gangs(num_replicas=4))
    before = dict(engine.replicas)
    victim, *others = before
    gang = before[victim].start_spec.gang  # type: ignore[union-attr]
    assert gang is not None
    del engine.replicas[victim]
    async with controlling(engine, store) as controller:
        for name in others:
            engine.attach(engine.replicas[name])
        assert (await controller.wait("app")).status is ApplicationStatus.RUNNING
        await until(
            controller,
            lambda: (
                controller.status().applications["app"].deployments["Door"].status
                is DeploymentStatus.HEALTHY
            ),
        )
        kept = {n for n in others if n.rsplit("#", 1)[1] not in gang.member_replica_ids}
        assert set(engine.replicas) & set(others) == kept
        assert len(engine.replicas) == 4
