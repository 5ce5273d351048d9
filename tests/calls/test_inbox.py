"""Work handed to a loop by threads."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from salver.calls.inbox import Inbox


async def test_what_several_threads_put_arrives_in_the_order_of_each() -> None:
    loop = asyncio.get_running_loop()
    inbox = Inbox(loop)
    seen: list[tuple[int, int]] = []
    done = asyncio.Event()

    def take(item: tuple[int, int]) -> None:
        seen.append(item)
        if len(seen) == 4000:
            done.set()

    def put(thread: int) -> None:
        for n in range(1000):
            inbox.put(take, (thread, n))

    await asyncio.gather(*(asyncio.to_thread(put, thread) for thread in range(4)))
    await done.wait()
    for thread in range(4):
        assert [n for t, n in seen if t == thread] == list(range(1000))


async def test_one_that_raises_does_not_hold_the_others() -> None:
    loop = asyncio.get_running_loop()
    reported: list[Any] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    inbox = Inbox(loop)
    done = asyncio.Event()
    inbox.put(lambda item: 1 // item, 0)
    inbox.put(lambda _: done.set(), None)
    await done.wait()
    assert [type(error) for error in reported] == [ZeroDivisionError]


def test_a_closed_loop_is_told_to_the_one_who_puts() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    inbox = Inbox(loop)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="closed"):
            inbox.put(print, None)
