"""Users' code in the midst of a loop's work, as a program of its own would run it."""

from __future__ import annotations

import asyncio
import signal
from asyncio import _set_running_loop
from collections.abc import Callable
from typing import Final, TypeVar

__all__ = ("in_foreground",)

T = TypeVar("T")
_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


async def in_foreground(function: Callable[[], T]) -> T:
    """Call it in this, the main thread, where users' modules expect to be: no loop runs there.

    KeyboardInterrupt: meanwhile came a signal to stop, of which the loop does not hear.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    loop.call_soon(_call, loop, function, done)  # not in a task, which would be the current one
    return await done


def _call(
    loop: asyncio.AbstractEventLoop, function: Callable[[], T], done: asyncio.Future[T]
) -> None:
    told: list[int] = []

    def stop(number: int, _frame: object) -> None:
        told.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _STOPS}
    wakes = signal.set_wakeup_fd(-1)
    _set_running_loop(None)
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
        done.set_exception(KeyboardInterrupt() if told else error)
    else:
        done.set_exception(KeyboardInterrupt()) if told else done.set_result(result)
    finally:
        _set_running_loop(loop)
        signal.set_wakeup_fd(wakes)  # whatever loops of theirs have done to it
        for number, handler in before.items():
            signal.signal(number, handler)
