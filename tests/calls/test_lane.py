"""Calls for one replica: to one that was chosen before, and to all of them."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from salver.calls.broadcast import DeploymentBroadcastResponse
from salver.calls.call import DONE
from salver.calls.handle import DeploymentHandle
from salver.calls.link import Link
from salver.errors import DeploymentUnavailableError, ReplicaUnavailableError
from salver.spec.ids import DeploymentId
from salver.wire import frames
from tests.calls.fakes import DEPLOYMENT, Bench, PlainCall


def handle_of(bench: Bench) -> DeploymentHandle[Any]:
    handle: DeploymentHandle[Any] = DeploymentHandle(DEPLOYMENT, bench.cluster.address)
    handle._router = bench.router
    return handle


def link_of(bench: Bench, name: str) -> Link:
    return bench.router.fleet.known[name]


def directed(bench: Bench, name: str) -> PlainCall:
    call = PlainCall(name)
    call.router = bench.router
    link_of(bench, name).lane.start(call)
    return call


async def test_a_call_for_one_replica_waits_for_it_though_another_is_free() -> None:
    bench = Bench("a", "b", limit=1)
    await bench.connect()
    first, second = directed(bench, "a"), directed(bench, "a")
    assert (first.where, second.where) == (["a"], [])
    ordinary = bench.submit(1)[0]
    assert ordinary.where == ["b"]
    bench.replicas[0].answer_all()
    assert second.where == ["a"]


async def test_it_goes_before_calls_that_any_replica_may_take() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    bench.submit(1)
    ordinary = bench.submit(1)[0]
    own = directed(bench, "a")
    a = bench.replicas[0]
    a.answer(next(iter(a.calls)))
    assert (own.where, ordinary.where) == (["a"], [])
    a.answer(next(iter(a.calls)))
    assert ordinary.where == ["a"]


async def test_turned_away_it_tries_the_same_replica_again() -> None:
    bench = Bench("a", "b", limit=2)
    await bench.connect()
    call = directed(bench, "a")
    a = bench.replicas[0]
    a.reject(next(iter(a.calls)))
    assert call.where == ["a"]
    a.ready()
    assert call.where == ["a", "a"]


async def test_it_fails_when_its_replica_goes_before_it_has_begun() -> None:
    bench = Bench("a", "b", limit=1)
    await bench.connect()
    begun, waiting = directed(bench, "a"), directed(bench, "a")
    bench.replicas[0].die()
    assert isinstance(begun.outcome, ReplicaUnavailableError)
    assert isinstance(waiting.outcome, ReplicaUnavailableError)


async def test_it_fails_when_its_replica_drains() -> None:
    bench = Bench("a", "b", limit=1)
    await bench.connect()
    running, waiting = directed(bench, "a"), directed(bench, "a")
    link = link_of(bench, "a")
    bench.replicas[0].goaway()
    assert isinstance(waiting.outcome, ReplicaUnavailableError)
    late = PlainCall()
    late.router = bench.router
    link.lane.start(late)
    assert isinstance(late.outcome, ReplicaUnavailableError)
    bench.replicas[0].answer_all()
    assert running.outcome == "answered"


async def test_it_waits_for_a_replica_that_is_being_dialled() -> None:
    bench = Bench("a")
    links = bench.router.every_link()
    call = directed(bench, "a")
    assert not call.where
    await bench.settle()
    assert (call.where, len(links)) == (["a"], 1)


async def test_it_fails_when_its_replica_cannot_be_dialled() -> None:
    bench = Bench("a")
    bench.replicas[0].reachable = False
    bench.router.every_link()
    call = directed(bench, "a")
    await bench.settle()
    assert isinstance(call.outcome, ReplicaUnavailableError)


async def test_cancelled_it_is_not_sent() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    directed(bench, "a")
    call = directed(bench, "a")
    bench.router.cancel(call)
    bench.replicas[0].answer_all()
    assert (call.where, call.state) == ([], DONE)


async def test_a_chosen_replica_keeps_a_slot_until_the_call_takes_it() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    handle = handle_of(bench)
    async with handle.choose_replica() as selection:
        assert selection.to_dict()["replica_id"] == "a"
        waiting = bench.submit(1)[0]
        assert not waiting.where
        response = handle.dispatch(selection, 1)
        a = bench.replicas[0]
        assert len(a.calls) == 1
    assert not waiting.where
    a.answer_all()
    await bench.settle()
    assert response.state == DONE
    assert waiting.where == ["a"]


async def test_a_slot_that_nobody_used_is_free_again() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    async with handle_of(bench).choose_replica():
        waiting = bench.submit(1)[0]
        assert not waiting.where
    assert waiting.where == ["a"]


async def test_a_call_that_waits_for_its_arguments_keeps_no_slot() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    handle = handle_of(bench)
    for end in ("fails", "is cancelled", "is answered"):
        a = bench.replicas[0]
        async with handle.choose_replica() as selection:
            argument = handle.remote()  # for the very replica whose one slot is kept
            response = handle.dispatch(selection, argument)
        assert len(a.calls) == 1
        if end == "fails":
            a.fail(next(iter(a.calls)), ValueError("no argument"))
        else:
            if end == "is cancelled":
                response.cancel()
            a.answer(next(iter(a.calls)))
        assert len(a.calls) == (1 if end == "is answered" else 0)
        a.answer_all()
        assert response.state == DONE
        assert bench.router.stats().inflight == 0


async def test_a_call_that_cannot_be_made_leaves_the_choice_as_it_was() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    handle = handle_of(bench)
    async with handle.choose_replica() as selection:
        with pytest.raises(TypeError, match="cannot pickle"):
            handle.dispatch(selection, threading.Lock())
    assert bench.router.stats().inflight == 0


async def test_who_is_cancelled_in_the_moment_of_the_choice_keeps_no_slot() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    bench.submit(1)

    async def choose() -> None:
        async with handle_of(bench).choose_replica():
            raise AssertionError("It was cancelled before.")

    task = asyncio.create_task(choose())
    await bench.settle()
    bench.replicas[0].answer_all()
    asyncio.get_running_loop().call_soon(task.cancel)  # after the choice, before its task goes on
    with pytest.raises(asyncio.CancelledError):
        await task
    assert bench.router.stats().inflight == 0


async def test_without_a_reserved_slot_others_may_come_first() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    async with handle_of(bench).choose_replica(_reserve=False) as selection:
        other = bench.submit(1)[0]
        assert other.where == ["a"]
        response = handle_of(bench).dispatch(selection)
        assert len(bench.replicas[0].of_type(frames.REQ)) == 1
    bench.replicas[0].answer_all()
    assert response.state == DONE


async def test_choosing_waits_its_turn_and_can_be_given_up() -> None:
    bench = Bench("a", limit=1)
    await bench.connect()
    bench.submit(1)

    async def choose() -> str:
        async with handle_of(bench).choose_replica() as selection:
            return str(selection.replica_id)

    given_up, kept = asyncio.create_task(choose()), asyncio.create_task(choose())
    await bench.settle()
    assert bench.router.waiting == 2
    given_up.cancel()
    await bench.settle()
    assert bench.router.waiting == 1
    bench.replicas[0].answer_all()
    assert await kept == "a"
    await bench.settle()
    assert bench.router.stats().inflight == 0


async def test_a_selection_is_for_one_call_of_its_own_deployment() -> None:
    bench = Bench("a", limit=2)
    await bench.connect()
    handle = handle_of(bench)
    other: DeploymentHandle[Any] = DeploymentHandle(
        DeploymentId("other", "app"), bench.cluster.address
    )
    other._router = bench.router
    async with handle.choose_replica() as selection:
        with pytest.raises(ValueError, match="Dispatch with the handle that chose it"):
            other.dispatch(selection)
        handle.dispatch(selection)
        with pytest.raises(RuntimeError, match="dispatched already"):
            handle.dispatch(selection)


async def test_dispatch_to_a_replica_that_is_gone_says_so() -> None:
    bench = Bench("a", "b", limit=2)
    await bench.connect()
    handle = handle_of(bench)
    async with handle.choose_replica() as selection:
        next(r for r in bench.replicas if r.name == selection.replica_id).die()
        with pytest.raises(ReplicaUnavailableError):
            handle.dispatch(selection)


async def answers(response: DeploymentBroadcastResponse, bench: Bench, **options: Any) -> Any:
    task = asyncio.create_task(response.results_async(**options))
    await bench.settle()
    for replica in bench.replicas:
        for call_id in list(replica.calls):
            replica.answer(call_id, replica.name)
    return await task


async def test_a_broadcast_reaches_every_replica_full_ones_too() -> None:
    bench = Bench("a", "b", "c", limit=1)
    await bench.connect()
    bench.submit(1)
    response = handle_of(bench).broadcast("reset", 1)
    task = asyncio.create_task(response.results_async())
    await bench.settle()
    for replica in bench.replicas:
        while replica.calls:
            replica.answer(next(iter(replica.calls)), replica.name)
    assert sorted(await task) == ["a", "b", "c"]


async def test_a_broadcast_waits_until_it_is_known_which_replicas_there_are() -> None:
    bench = Bench("a", "b", known=False)
    response = handle_of(bench).broadcast("reset")
    await bench.settle()
    bench.show(*bench.replicas)
    await bench.settle()
    assert sorted(await answers(response, bench)) == ["a", "b"]


async def test_a_broadcast_without_replicas_has_no_answers() -> None:
    bench = Bench()
    assert await handle_of(bench).broadcast("reset").results_async() == []


async def test_a_broadcast_to_a_deployment_that_is_gone_says_so() -> None:
    bench = Bench("a")
    await bench.connect()
    bench.show(gone="it was deleted")
    with pytest.raises(DeploymentUnavailableError, match="it was deleted"):
        await handle_of(bench).broadcast("reset").results_async()


async def test_a_broadcast_can_give_errors_in_place_of_answers() -> None:
    bench = Bench("a", "b", limit=2)
    await bench.connect()
    response = handle_of(bench).broadcast("reset")
    await bench.settle()
    bench.replicas[0].fail(next(iter(bench.replicas[0].calls)), ValueError("no"))
    bench.replicas[1].answer_all()
    first, second = await response.results_async(return_exceptions=True)
    assert isinstance(first, ValueError)
    assert second is None
    with pytest.raises(ValueError, match="no"):
        await response.results_async()


async def test_a_cancelled_broadcast_is_cancelled_everywhere() -> None:
    bench = Bench("a", "b", limit=2)
    await bench.connect()
    response = handle_of(bench).broadcast("reset")
    await bench.settle()
    response.cancel()
    assert all(not replica.calls for replica in bench.replicas)
    assert all(replica.of_type(frames.CANCEL) for replica in bench.replicas)


async def test_a_broadcast_gives_up_in_time() -> None:
    bench = Bench("a")
    await bench.connect()
    with pytest.raises(TimeoutError):
        await handle_of(bench).broadcast("reset").results_async(timeout_s=0.001)
    with pytest.raises(TypeError, match="the name of a method"):
        handle_of(bench).broadcast(3)  # type: ignore[arg-type]


async def test_method_names_without_end_fit_into_their_16_bits_and_are_not_kept() -> None:
    bench = Bench("a")
    await bench.connect()
    link = link_of(bench, "a")
    link.names.clear()
    numbers = [link.introduce(f"m{number}") for number in range(70_000)]
    assert max(numbers) == frames.UNNUMBERED
    assert len(link.names) < 2000
    assert [link.names[f"m{number}"] for number in range(100)] == numbers[:100]
    bench.cluster.close()
