"""Streams: items as they come, credit, and leaving early."""

from __future__ import annotations

import asyncio
import gc

import pytest

from salver.calls.handle import DeploymentHandle
from salver.errors import ReplicaDiedError, RequestCancelledError
from salver.wire import frames
from tests.calls.fakes import DEPLOYMENT, Bench, FakeReplica


@pytest.fixture
def handle(bench: Bench) -> DeploymentHandle[object]:
    return DeploymentHandle(DEPLOYMENT, "memory:test").options(stream=True)


def only(replica: FakeReplica) -> int:
    (call_id,) = replica.calls
    return call_id


async def test_items_come_in_order_before_and_after_they_are_asked_for(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    stream = handle.remote(3)
    assert a.of_type(frames.REQ)[0][1] == frames.STREAM
    a.item(only(a), 1)
    assert await anext(stream) == 1
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    a.item(only(a), 2)
    a.item(only(a), None)
    assert await waiting == 2
    a.end(only(a))
    assert [item async for item in stream] == [None]
    assert [item async for item in stream] == []


async def test_credit_is_renewed_as_items_are_taken(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    stream = handle.remote()
    for n in range(frames.INITIAL_CREDIT):
        a.item(only(a), n)
    half = frames.INITIAL_CREDIT // 2
    for n in range(half - 1):
        assert await anext(stream) == n
    assert not a.of_type(frames.CREDIT)
    await anext(stream)
    assert [(f[2], f[3]) for f in a.of_type(frames.CREDIT)] == [(half, only(a))]
    stream.cancel()


async def test_an_error_comes_after_the_items_before_it_and_once(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    stream = handle.remote()
    a.item(only(a), 1)
    a.fail(only(a), ValueError("broken"))
    assert await anext(stream) == 1
    with pytest.raises(ValueError, match=r"^broken"):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_leaving_the_loop_early_cancels_the_callee(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    only_id = 0

    async def leave() -> None:
        nonlocal only_id
        stream = handle.remote()
        only_id = only(a)
        a.item(only_id, 1)
        async for _ in stream:
            break

    await leave()
    gc.collect()
    assert [f[3] for f in a.of_type(frames.CANCEL)] == [only_id]


@pytest.mark.parametrize("how", ["cancel", "close", "aclose"])
async def test_a_stream_can_be_given_up(
    how: str, a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    stream = handle.remote()
    a.item(only(a), 1)
    if how == "aclose":
        await stream.aclose()
    else:
        getattr(stream, how)()
    assert len(a.of_type(frames.CANCEL)) == 1
    assert stream.cancelled()
    with pytest.raises(RequestCancelledError if how == "cancel" else StopAsyncIteration):
        await anext(stream)


async def test_cancel_of_a_stream_that_has_come_whole_leaves_its_items(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    stream = handle.remote()
    a.item(only(a), 1)
    a.end(only(a))
    stream.cancel()
    assert stream.cancelled()
    assert [item async for item in stream] == [1]
    assert not a.of_type(frames.CANCEL)


async def test_a_task_cancelled_while_it_waits_for_an_item_cancels_the_stream(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    stream = handle.remote()
    task = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert len(a.of_type(frames.CANCEL)) == 1


async def test_a_thread_iterates_with_a_plain_for(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    count = frames.INITIAL_CREDIT * 3
    taken = asyncio.ensure_future(asyncio.to_thread(lambda: list(handle.remote())))
    await a.has(1)
    for n in range(count):
        a.item(only(a), n)
        await asyncio.sleep(0)
    a.end(only(a))
    assert await taken == list(range(count))


async def test_a_plain_for_on_a_running_loop_says_what_to_do(
    handle: DeploymentHandle[object],
) -> None:
    stream = handle.remote()
    with pytest.raises(RuntimeError, match=r"Use `async for` here\."):
        next(stream)
    stream.cancel()


async def test_a_stream_has_no_single_result(handle: DeploymentHandle[object]) -> None:
    stream = handle.remote()
    with pytest.raises(TypeError, match="yields items"):
        await stream
    with pytest.raises(TypeError, match="yields items"):
        stream.result()
    stream.cancel()


async def test_when_the_replica_dies_a_begun_stream_fails_and_another_moves(
    a: FakeReplica, handle: DeploymentHandle[object]
) -> None:
    begun, waiting = handle.remote(), handle.remote()
    first = min(a.calls)
    a.item(first, 1)
    conn = a.calls[first]
    a.die(begun=first)
    assert await anext(begun) == 1
    with pytest.raises(ReplicaDiedError):
        await anext(begun)
    for _ in range(6):
        await asyncio.sleep(0)
    assert a.calls[only(a)] is not conn
    a.item(only(a), "moved")
    assert await anext(waiting) == "moved"
    waiting.cancel()
