"""The threads of `def` handlers."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar, copy_context

import pytest

from salver.replica.pool import Pool


async def test_as_many_threads_as_are_needed_and_not_more() -> None:
    loop = asyncio.get_running_loop()
    pool = Pool(3, loop, "test-pool")
    go = threading.Event()
    ran: list[str] = []

    def work() -> None:
        go.wait(60)
        ran.append(threading.current_thread().name)

    assert threads("test-pool") == 0
    first = asyncio.create_task(pool.run(copy_context(), work))
    await asyncio.sleep(0)
    assert threads("test-pool") == 1
    others = [asyncio.create_task(pool.run(copy_context(), work)) for _ in range(9)]
    await asyncio.sleep(0)
    assert threads("test-pool") == 3
    go.set()
    await asyncio.gather(first, *others)
    assert len(ran) == 10
    await asyncio.gather(*(pool.run(copy_context(), work) for _ in range(2)))
    assert threads("test-pool") == 3
    pool.close()
    await asyncio.to_thread(join, "test-pool")


async def test_values_errors_and_context() -> None:
    loop = asyncio.get_running_loop()
    pool = Pool(1, loop, "test-pool")
    mark: ContextVar[int] = ContextVar("mark")
    mark.set(7)
    assert await pool.run(copy_context(), mark.get) == 7
    with pytest.raises(ZeroDivisionError):
        await pool.run(copy_context(), lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await pool.run(copy_context(), lambda: next(iter(())))
    assert await pool.run(copy_context(), lambda: 1) == 1
    pool.close()
    await asyncio.to_thread(join, "test-pool")


async def test_where_no_more_threads_may_begin_those_that_are_there_do_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pool = Pool(3, asyncio.get_running_loop(), "test-pool")
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("test-pool") and threads("test-pool") == most:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    most = 0
    with pytest.raises(RuntimeError, match="can't start new thread"):
        await pool.run(copy_context(), lambda: 1)
    most = 1
    results = [pool.run(copy_context(), lambda n=n: n) for n in range(9)]  # type: ignore[misc]
    assert await asyncio.gather(*results) == [*range(9)]
    assert caplog.text.count("Of 3 threads for `def` handlers only 1 could begin") == 1
    pool.close()
    await asyncio.to_thread(join, "test-pool")


async def test_every_result_of_a_burst_arrives() -> None:
    loop = asyncio.get_running_loop()
    pool = Pool(4, loop, "test-pool")
    results = await asyncio.gather(
        *(pool.run(copy_context(), lambda n=n: n) for n in range(2000))  # type: ignore[misc]
    )
    assert results == list(range(2000))
    pool.close()
    await asyncio.to_thread(join, "test-pool")


def threads(name: str) -> int:
    return sum(t.name.startswith(name) for t in threading.enumerate())


def join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name.startswith(name):
            thread.join(60)
