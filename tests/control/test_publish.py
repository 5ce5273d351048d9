"""Views and routes: everyone hears of every change once, and of nothing that is not known yet."""

from __future__ import annotations

import asyncio

import pytest

from salver.control.publish import Publisher, Watcher
from salver.core.ports import Exit
from salver.errors import EngineError
from salver.spec.ids import DeploymentId
from salver.spec.status import Delta, DeploymentView, ReplicaFacts, ReplicaView, RouteView

A = DeploymentId("A", "app")


def view(*replicas: str) -> DeploymentView:
    return DeploymentView(A, 5, -1, tuple(ReplicaView(r, f"memory:{r}") for r in replicas))


ROUTE = RouteView("/", "app", A)


class Ear:
    def __init__(self, publisher: Publisher, *, door: bool = False) -> None:
        self.heard: list[Delta] = []
        self.watcher = Watcher("ear", self.heard.append, door=door)
        publisher.add(self.watcher)


def test_nothing_is_told_before_it_is_open_and_then_everything() -> None:
    publisher = Publisher()
    ear = Ear(publisher)
    publisher.update([view("1")], [ROUTE])
    assert ear.heard == []
    publisher.open()
    assert ear.heard == [Delta(1, (view("1"),), (ROUTE,), True, ())]


def test_only_what_changed_is_told() -> None:
    publisher = Publisher()
    publisher.open()
    publisher.update([view("1")], [ROUTE])
    ear = Ear(publisher)
    ear.heard.clear()
    publisher.update([view("1")], [ROUTE])
    publisher.update([view("1", "2")], [ROUTE])
    publisher.update([view("1", "2")], [])
    assert ear.heard == [Delta(3, (view("1", "2"),)), Delta(4, (), ())]


def test_what_was_up_once_stays_so() -> None:
    publisher = Publisher()
    ear = Ear(publisher)
    publisher.open()
    publisher.update([view("1")], [ROUTE])
    assert not any(delta.up for delta in ear.heard)
    publisher.update([view("1")], [ROUTE], up=True)
    assert ear.heard[-1] == Delta(3, up=True)
    publisher.update([view()], [ROUTE])
    late = Ear(publisher)
    assert (ear.heard[-1].up, late.heard[-1].up) == (True, True)


def test_what_is_gone_is_told_with_the_reason() -> None:
    publisher = Publisher()
    publisher.open()
    publisher.update([view("1")], [])
    ear = Ear(publisher)
    publisher.update([], [])
    gone = ear.heard[-1].deployments[0]
    assert (gone.id, gone.replicas, gone.gone) == (A, (), "Deployment app#A was deleted.")


async def test_applied_waits_for_every_door_and_for_doors_that_are_to_come() -> None:
    publisher = Publisher(doors=1)
    publisher.open()
    Ear(publisher)  # a router: nobody waits for it
    waiting = asyncio.create_task(publisher.wait_applied(1))
    await asyncio.sleep(0)
    door, other = Ear(publisher, door=True), Ear(publisher, door=True)
    publisher.applied(door.watcher, 1)
    await asyncio.sleep(0)
    assert not waiting.done()
    publisher.remove(other.watcher)
    await waiting


async def test_a_door_that_dies_at_every_start_is_not_waited_for_until_it_stands() -> None:
    publisher = Publisher(doors=1)
    publisher.open()
    waiting = asyncio.create_task(publisher.wait_applied(1))
    death = Exit("grpc", "grpc", 1, code=1, said="ImportError: no protobuf.")
    for _ in range(2):
        publisher.fell(death)
        publisher.fell(Exit("app#A#1", "replica", 2, code=1))
    assert publisher.trouble == ""
    publisher.fell(death)
    with pytest.raises(EngineError, match="gRPC door does not start; it was tried 3 times, and"):
        await waiting
    with pytest.raises(EngineError, match=r"with exit code 1: ImportError: no protobuf\. The log"):
        await publisher.wait_applied(1)
    assert publisher.doors() == {"grpc": "UNHEALTHY"}
    door = Watcher("grpc-0123abcd", lambda _: None, door=True)
    publisher.add(door)
    publisher.applied(door, 1)
    await publisher.wait_applied(1)
    assert publisher.doors() == {"grpc-0123abcd": "HEALTHY"}


async def test_a_door_that_stood_in_between_has_not_died_at_every_start() -> None:
    publisher = Publisher(doors=1)
    publisher.open()
    for number in range(5):
        door = Watcher(f"ingress-{number}", lambda _: None, door=True)
        publisher.add(door)
        publisher.applied(door, 1)
        publisher.remove(door)
        publisher.fell(Exit("ingress", "ingress", number, signal=9))
    assert publisher.trouble == ""


def said(replica: str, *models: str) -> ReplicaFacts:
    return ReplicaFacts(f"app#A#{replica}", models, 3)


async def test_what_replicas_say_in_one_tick_is_told_once_and_the_latest_of_each() -> None:
    publisher = Publisher()
    publisher.open()
    ear = Ear(publisher)
    ear.heard.clear()
    publisher.note(said("1", "a"))
    publisher.note(said("2"))
    publisher.note(said("1", "a", "b"))
    assert ear.heard == []
    await asyncio.sleep(0)
    (delta,) = ear.heard
    assert (delta.deployments, delta.routes) == ((), None)
    assert sorted(delta.facts, key=lambda facts: facts.replica) == [said("1", "a", "b"), said("2")]


async def test_who_comes_later_hears_what_living_replicas_have_said() -> None:
    publisher = Publisher()
    publisher.note(said("1", "a"))
    publisher.note(said("2", "b"))
    publisher.open()
    publisher.forget("app#A#1")
    assert Ear(publisher).heard[0].facts == (said("2", "b"),)
    publisher.note(said("3"))
    publisher.forget("app#A#3")
    await asyncio.sleep(0)
    assert Ear(publisher).heard[0].facts == (said("2", "b"),)
