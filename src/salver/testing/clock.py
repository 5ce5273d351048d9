"""Time that a test moves: a clock to pass in, and an event loop that never sleeps."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Mapping
from typing import Any

__all__ = ("VirtualClock", "virtual_loop")


class VirtualClock:
    """Call it for the time; it stands still until it is moved."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass. It never goes back."""
        if seconds < 0:
            raise ValueError(f"Time cannot go back by {-seconds:g} s.")
        self.now += seconds


def virtual_loop(clock: VirtualClock) -> asyncio.AbstractEventLoop:
    """An event loop by this clock: when all tasks wait, time jumps to the next timer.

    Sockets and threads still work, but take no time.
    """
    loop = asyncio.SelectorEventLoop(_JumpingSelector(clock))
    loop.time = clock  # type: ignore[method-assign]
    return loop


class _JumpingSelector(selectors.BaseSelector):
    """Where a loop would sleep until its next timer, the clock moves instead."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._real.select(timeout)
        events = self._real.select(0)
        if not events:
            self._clock.advance(timeout)
        return events

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
