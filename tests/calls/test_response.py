"""Responses: waiting for an answer on the home loop, on other loops and in threads."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from salver.calls.context import CallContext, current_call, unpack_meta
from salver.calls.handle import DeploymentHandle
from salver.calls.splice import decode_call
from salver.errors import RequestCancelledError, SalverError
from salver.wire import frames
from tests.calls.fakes import DEPLOYMENT, Bench, FakeReplica


@pytest.fixture
def handle(bench: Bench) -> DeploymentHandle[object]:
    return DeploymentHandle(DEPLOYMENT, "memory:test")


def last(replica: FakeReplica) -> int:
    return max(replica.calls)


def arguments(replica: FakeReplica, call_id: int) -> tuple[Any, Any]:
    (frame,) = [f for f in replica.of_type(frames.REQ) if f[3] == call_id]
    payload = frame[4]
    if frame[1] & frames.META:
        payload = payload[unpack_meta(payload)[1] :]
    return decode_call(payload)


async def test_await_gives_the_value_as_often_as_it_is_asked_for(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    response = handle.remote(1, x="two")
    assert arguments(a, last(a)) == ((1,), {"x": "two"})
    tasks = [asyncio.ensure_future(response) for _ in range(3)]
    await asyncio.sleep(0)
    a.answer(last(a), {"value": 3})
    assert await asyncio.gather(*tasks) == [{"value": 3}] * 3
    assert await response == {"value": 3}


async def test_a_method_name_is_sent_once_for_each_connection(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    for _ in range(3):
        handle.predict.remote()
    assert [(f[2], f[4]) for f in a.of_type(frames.NAME)] == [(1, b"predict")]
    assert [f[2] for f in a.of_type(frames.REQ)] == [1, 1, 1]


async def test_an_error_is_raised_anew_each_time_and_its_traceback_does_not_grow(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    response = handle.remote()
    a.fail(last(a), ValueError("no such thing"))
    depths = []
    for _ in range(3):
        with pytest.raises(ValueError, match=r"^no such thing") as caught:
            await response
        depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(set(depths)) == 1


async def test_cancel_of_a_sent_call_tells_the_replica_and_those_who_wait(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    response = handle.remote()
    task = asyncio.ensure_future(response)
    await asyncio.sleep(0)
    response.cancel()
    with pytest.raises(RequestCancelledError) as caught:
        await task
    assert caught.value.request_id == response.request_id
    assert response.cancelled()
    assert len(a.of_type(frames.CANCEL)) == 1
    response.cancel()
    assert len(a.of_type(frames.CANCEL)) == 1


async def test_cancel_of_a_finished_call_leaves_its_result(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    response = handle.remote()
    a.answer(last(a), "there")
    assert not response.cancelled()
    response.cancel()
    assert response.cancelled()
    assert await response == "there"
    assert not a.of_type(frames.CANCEL)


async def test_a_cancelled_task_cancels_the_call_unless_another_awaits_it(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    response = handle.remote()
    tasks = [asyncio.ensure_future(response) for _ in range(3)]
    await asyncio.sleep(0)
    for task in (tasks[1], tasks[0]):
        task.cancel()
        await asyncio.wait([task])
        assert not response.cancelled()
    tasks[2].cancel()
    await asyncio.wait([tasks[2]])
    assert response.cancelled()
    assert len(a.of_type(frames.CANCEL)) == 1


async def test_result_on_a_running_loop_says_what_to_do(
    handle: DeploymentHandle[object],
) -> None:
    with pytest.raises(RuntimeError, match=r"Use `await response` here\."):
        handle.remote().result()


async def test_result_in_a_thread(
    a: FakeReplica, handle: DeploymentHandle[object], bench: Bench
) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(8) as pool:
        waits = [
            loop.run_in_executor(pool, lambda n=n: handle.remote(n).result(timeout_s=60))  # type: ignore[misc]
            for n in range(8)
        ]
        await a.has(8)
        for call_id in list(a.calls):
            ((n,), _) = arguments(a, call_id)
            a.answer(call_id, n * 2)
        assert await asyncio.gather(*waits) == [n * 2 for n in range(8)]


async def test_a_result_that_is_late_is_a_timeout_and_the_call_goes_on(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    response = handle.remote()
    with pytest.raises(TimeoutError, match=r"No answer within 0\.01s"):
        await asyncio.to_thread(response.result, timeout_s=0.01)
    a.answer(last(a), "late")
    assert await response == "late"
    assert await asyncio.to_thread(response.result, timeout_s=0) == "late"


async def test_awaiting_on_another_loop(
    a: FakeReplica, handle: DeploymentHandle[object], bench: Bench
) -> None:
    async def elsewhere() -> list[object]:
        responses = [handle.remote(n) for n in range(20)]
        cancelled = handle.remote("never")
        task = asyncio.ensure_future(cancelled)
        values = await asyncio.gather(*responses)
        task.cancel()
        await asyncio.wait([task])
        assert cancelled.cancelled()
        return values

    other = asyncio.ensure_future(asyncio.to_thread(asyncio.run, elsewhere()))
    await a.has(21)
    for call_id in list(a.calls)[:20]:
        a.answer(call_id, call_id)
    values = await other
    assert len(set(values)) == 20
    await a.has(0)
    assert a.of_type(frames.CANCEL)


async def test_a_burst_from_a_thread_wakes_the_loop_once(
    a: FakeReplica, handle: DeploymentHandle[object], bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle.remote()
    inbox = bench.cluster._inbox
    rings: list[object] = []

    class Counting:
        def call_soon_threadsafe(self, callback: object) -> None:
            rings.append(callback)

    monkeypatch.setattr(inbox, "loop", Counting())
    await asyncio.to_thread(lambda: [handle.remote() for _ in range(50)])
    assert len(rings) == 1
    rings[0]()  # type: ignore[operator]
    assert len(a.calls) == 51


async def test_a_child_inherits_the_request_and_is_cancelled_with_its_parent(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    context = CallContext("r-1", "app", "/route", "model", "session")
    token = current_call.set(context)
    one, two = handle.remote(), handle.options(multiplexed_model_id="m2").remote()
    current_call.reset(token)
    assert context.children == {one, two}
    metas = [unpack_meta(f[4])[0] for f in a.of_type(frames.REQ)]
    assert [(m.request_id, m.app, m.route, m.model_id) for m in metas] == [
        ("r-1", "app", "/route", ""),
        ("r-1", "app", "/route", "m2"),
    ]
    assert one.request_id == "r-1"
    a.answer(one.call_id)
    assert context.children == {two}
    context.cancel_children()
    assert two.cancelled()
    assert context.children == set()


async def test_a_call_without_a_parent_has_the_id_that_its_connection_gives_it(
    a: FakeReplica, handle: DeploymentHandle[object], bench: Bench
) -> None:
    response = handle.remote()
    name = bench.cluster.name
    assert response.request_id == f"{name}.1-{response.call_id:x}"
    assert a.of_type(frames.REQ)[0][1] == 0  # nothing but the arguments was sent
    assert handle.remote().request_id != response.request_id


async def test_an_id_that_was_asked_for_early_is_carried_along(bench: Bench) -> None:
    fresh = Bench("b")
    fresh.cluster.adopt()
    response = DeploymentHandle(DEPLOYMENT, "memory:test").remote()
    request_id = response.request_id
    await fresh.settle()
    (b,) = fresh.replicas
    assert unpack_meta(b.of_type(frames.REQ)[0][4])[0].request_id == request_id
    assert response.request_id == request_id
    fresh.cluster.close()


async def test_a_response_as_argument_becomes_its_result_without_being_decoded_here(
    a: FakeReplica, handle: DeploymentHandle[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = handle.remote(1), handle.remote(2)
    downstream = handle.remote("x", one, two, again=one, plain=5)
    ids = list(a.calls)
    assert len(ids) == 2
    big = np.arange(200_000)
    a.answer(ids[0], {"one": 1})
    assert len(a.calls) == 1
    a.answer(ids[1], big)
    args, kwargs = arguments(a, last(a))
    assert args[:2] == ("x", {"one": 1})
    assert (args[2] == big).all()
    assert kwargs == {"again": {"one": 1}, "plain": 5}
    a.answer(last(a), "done")
    assert await downstream == "done"


async def test_a_result_that_is_known_already_is_passed_by_value(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    one = handle.remote()
    a.answer(last(a), [1, 2])
    assert await one == [1, 2]
    handle.remote(one)
    assert arguments(a, last(a)) == (([1, 2],), {})


async def test_a_failed_argument_fails_the_call_that_waits_for_it(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    one, two = handle.remote(), handle.remote()
    down_one, down_two = handle.remote(one), handle.remote(two)
    a.fail(min(a.calls), KeyError("k"))
    with pytest.raises(KeyError):
        await down_one
    two.cancel()
    with pytest.raises(RequestCancelledError):
        await down_two
    assert len(a.of_type(frames.REQ)) == 2


async def test_a_call_that_waits_for_its_arguments_can_be_cancelled_and_does_not_count_as_queued(
    a: FakeReplica, handle: DeploymentHandle[object], bench: Bench
) -> None:
    one = handle.remote()
    downstream = handle.remote(one)
    assert bench.router.stats().queued == 0
    downstream.cancel()
    a.answer(last(a), 1)
    with pytest.raises(RequestCancelledError):
        await downstream
    assert await one == 1
    assert not a.calls


async def test_a_nested_response_is_refused_with_the_way_out(
    handle: DeploymentHandle[object], a: FakeReplica
) -> None:
    response = handle.remote()
    with pytest.raises(SalverError, match="Pass it as an argument of its own"):
        handle.remote([response])
    stream = handle.options(stream=True).remote()
    with pytest.raises(RuntimeError, match="cannot be passed to another handle call"):
        handle.remote(stream)
    stream.cancel()


async def test_large_arguments_go_as_buffers(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    array = np.zeros(100_000)
    handle.remote(array)
    handle.remote("x" * 100_000)
    first, second = (f[4] for f in a.of_type(frames.REQ))
    assert len(first.inline) < 1000
    assert first.buffers[0].nbytes == array.nbytes
    assert second.buffers == []
    assert arguments(a, last(a)) == (("x" * 100_000,), {})


async def test_the_context_of_the_caller_stays_its_own(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    response = contextvars.copy_context().run(handle.remote)
    a.answer(response.call_id)
    await response
    assert current_call.get() is None


def test_a_handle_is_copied_by_pickle() -> None:
    handle: DeploymentHandle[object] = DeploymentHandle(DEPLOYMENT, "/run/x")
    copy = pickle.loads(pickle.dumps(handle.options(stream=True).items))
    assert copy.deployment_id == DEPLOYMENT
    assert (copy.deployment_name, copy.app_name) == ("echo", "app")
    assert repr(copy) == "DeploymentHandle(deployment='app#echo', method_name='items')"
    assert copy._options == handle.options(stream=True, method_name="items")._options


def test_an_unknown_option_is_refused_and_the_nearest_named() -> None:
    handle: DeploymentHandle[object] = DeploymentHandle(DEPLOYMENT, "/run/x")
    with pytest.raises(TypeError, match=r"no option 'streaming'\. Did you mean 'stream'"):
        handle.options(streaming=True)
    with pytest.raises(TypeError, match=r"^stream=\d+ is not valid: expected bool, got int\.$"):
        handle.options(stream=1)


def test_a_handle_of_an_instance_that_is_not_there_says_so() -> None:
    with pytest.raises(SalverError, match=r"^No Salver instance can be reached at '/nowhere'"):
        DeploymentHandle(DEPLOYMENT, "/nowhere").remote()


async def test_a_call_cancelled_on_its_way_to_the_home_loop_is_not_sent(
    bench: Bench, a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    parent = CallContext("request-1", "app")
    current_call.set(parent)
    context = contextvars.copy_context()
    current_call.set(None)
    with ThreadPoolExecutor() as pool:
        response = pool.submit(context.run, handle.remote).result()
    parent.cancel_children()  # before this loop comes to what the thread has left for it
    await bench.settle()
    assert a.of_type(frames.REQ) == []
    with pytest.raises(RequestCancelledError):
        await response


async def test_an_argument_that_cannot_be_sent_any_more_fails_the_call(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    first, second = handle.remote(), handle.remote()
    third = handle.remote(first, second)
    a.answer(min(a.calls), {})
    (await first)["lock"] = threading.Lock()
    a.answer_all()
    with pytest.raises(TypeError, match="cannot pickle"):
        await asyncio.wait_for(third, 5)
