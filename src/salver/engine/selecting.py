"""A loop without asyncio: callbacks on descriptors and timers. Only the keeper runs on it."""

from __future__ import annotations

import heapq
import itertools
import selectors
import time
from collections.abc import Callable

__all__ = ("Loop", "Timer")

Callback = Callable[[], None]


class Timer:
    """A call to come; `cancel()` forgets it."""

    def __init__(self, callback: Callback) -> None:
        self.callback: Callback | None = callback

    def cancel(self) -> None:
        self.callback = None


class Loop:
    """Runs callbacks until `stop()`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._running = True

    def on_readable(self, fd: int, callback: Callback | None) -> None:
        self._register(fd, selectors.EVENT_READ, callback)

    def on_writable(self, fd: int, callback: Callback | None) -> None:
        self._register(fd, selectors.EVENT_WRITE, callback)

    def forget(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def later(self, delay: float, callback: Callback) -> Timer:
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay, next(self._order), timer))
        return timer

    def run(self) -> None:
        while self._running:
            self._turn(self._patience())

    def attend(self) -> None:
        """Do what is due, and do not wait for more."""
        if self._running:
            self._turn(0.0)

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        self._selector.close()

    def _turn(self, patience: float | None) -> None:
        for key, events in self._selector.select(patience):
            for event in (selectors.EVENT_WRITE, selectors.EVENT_READ):
                if events & event and (callback := self._current(key, event)):
                    callback()
        self._ring()

    def _register(self, fd: int, event: int, callback: Callback | None) -> None:
        key = self._selector.get_map().get(fd)
        data = {} if key is None else {k: v for k, v in key.data.items() if k != event}
        if callback is not None:
            data[event] = callback
        mask = sum(data)
        if key is None:
            if mask:
                self._selector.register(fd, mask, data)
        elif mask:
            self._selector.modify(fd, mask, data)
        else:
            self._selector.unregister(fd)

    def _current(self, key: selectors.SelectorKey, event: int) -> Callback | None:
        """What is registered still: an earlier callback of this round may have closed it."""
        now = self._selector.get_map().get(key.fd)
        callback: Callback | None = key.data.get(event)
        return callback if now is not None and now.data.get(event) is callback else None

    def _patience(self) -> float | None:
        if not self._running:
            return 0.0
        if not self._timers:
            return None
        return max(0.0, self._timers[0][0] - time.monotonic())

    def _ring(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)[2]
            if timer.callback is not None:
                timer.callback()
