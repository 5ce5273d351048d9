"""Routers that go by models: what replicas report is what they go by."""

from __future__ import annotations

from salver.spec.status import Delta, DeploymentView, ReplicaFacts
from tests.calls.fakes import DEPLOYMENT, Bench, PlainCall


class ModelCall(PlainCall):
    @property
    def model_id(self) -> str:
        return str(self.name)


class ManyBench(Bench):
    """Replicas are called app#echo#a and so on."""

    def say(self, replica: str, *models: str, room: int = 2) -> None:
        self.version += 1
        facts = ReplicaFacts(f"app#echo#{replica}", models, room)
        self.cluster.directory.apply(Delta(self.version, facts=(facts,)))

    def ask(self, *models: str) -> list[ModelCall]:
        calls = [ModelCall(model) for model in models]
        for call in calls:
            self.router.submit(call)
        return calls


def named(*names: str) -> list[str]:
    return [f"app#echo#{name}" for name in names]


async def test_calls_go_to_the_replica_that_holds_their_model() -> None:
    bench = ManyBench(*named("a", "b"), limit=5)
    await bench.connect()
    bench.say("a", "x")
    bench.say("b", "y")
    calls = bench.ask("x", "y", "x", "y")
    assert [call.where for call in calls] == [[name] for name in named("a", "b", "a", "b")]


async def test_calls_without_a_model_go_to_the_least_loaded() -> None:
    bench = ManyBench(*named("a", "b"), limit=5)
    await bench.connect()
    bench.say("a", "x")
    calls = bench.ask("", "", "", "")
    assert sorted(call.where[0] for call in calls) == named("a", "a", "b", "b")


async def test_a_slot_that_becomes_free_goes_to_a_waiting_call_for_a_model_held_there() -> None:
    bench = ManyBench(*named("a", "b"), limit=1)
    await bench.connect()
    bench.say("a", "x")
    bench.say("b", "y")
    first = bench.ask("x", "y")
    waiting = bench.ask("x", "y")
    a, b = bench.replicas
    b.answer(next(iter(b.calls)))
    assert [call.where for call in first] == [named("a"), named("b")]
    assert [call.where for call in waiting] == [[], named("b")]
    assert bench.router.waiting == 1
    a.answer_all()
    assert waiting[0].where == named("a")


async def test_a_full_holder_is_not_waited_for() -> None:
    bench = ManyBench(*named("a", "b"), limit=1)
    await bench.connect()
    bench.say("a", "x")
    bench.say("b")
    assert [call.where for call in bench.ask("x", "x")] == [named("a"), named("b")]


async def test_a_router_that_is_new_knows_what_was_reported_before() -> None:
    bench = ManyBench(*named("a", "b"), limit=5)
    bench.say("b", "x")
    await bench.connect()
    assert {call.where[0] for call in bench.ask("x", "x", "x")} == set(named("b"))


async def test_a_replica_that_is_gone_holds_nothing() -> None:
    bench = ManyBench(*named("a", "b"), limit=5)
    await bench.connect()
    bench.say("a", "x")
    bench.say("b", room=2)
    bench.show(bench.replicas[1])
    await bench.settle()
    assert bench.cluster.directory.facts_of(DEPLOYMENT) == [ReplicaFacts("app#echo#b", (), 2)]
    assert bench.ask("x")[0].where == named("b")


async def test_a_cancelled_call_that_waits_is_passed_over() -> None:
    bench = ManyBench(*named("a"), limit=1)
    await bench.connect()
    bench.say("a", "x")
    bench.ask("x")
    cancelled, kept = bench.ask("x", "x")
    bench.router.cancel(cancelled)
    bench.replicas[0].answer_all()
    assert (cancelled.where, kept.where) == ([], named("a"))


async def test_facts_alone_leave_views_and_routes_as_they_are() -> None:
    bench = ManyBench(*named("a"), limit=1)
    view: DeploymentView = bench.cluster.directory.views[DEPLOYMENT]
    bench.say("a", "x")
    assert bench.cluster.directory.views[DEPLOYMENT] is view
