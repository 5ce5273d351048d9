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

    KeyboardInterrupt: it was told to stop meanwhile, which the loop hears next.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    loop.call_soon(_call, loop, function, done)  # not in a task, which would be the current one
    return await done


def _call(
    loop: asyncio.AbstractEventLoop, function: Callable[[], T], done: asyncio.Future[T]
) -> None:
    before = {n: signal.signal(n, signal.default_int_handler) for n in _STOPS}
    signal.set_wakeup_fd(heard := signal.set_wakeup_fd(-1))
    _set_running_loop(None)
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
        done.set_exception(error)
    else:
        done.set_result(result)
    finally:
        _set_running_loop(loop)
        signal.set_wakeup_fd(heard)  # a loop of theirs may have taken it away
        for number, handler in before.items():
            signal.signal(number, handler)
