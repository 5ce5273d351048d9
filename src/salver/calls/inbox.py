"""Work handed to an event loop by other threads, with one wake-up per burst."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ("Inbox",)


class Inbox:
    """Functions to be called on one loop, in the order in which they were put.

    Without a lock: an item is appended before `_rung` is looked at, and `_rung` is taken back
    before the items are; so an item is either seen by the drain under way or rings again.
    """

    __slots__ = ("__weakref__", "_items", "_rung", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._items: deque[tuple[Callable[[Any], object], Any]] = deque()
        self._rung = False

    def put(self, function: Callable[[Any], object], item: Any) -> None:
        """Have `function(item)` called on the loop. RuntimeError: the loop is closed."""
        self._items.append((function, item))
        if not self._rung:
            self._rung = True
            try:
                self.loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                self._rung = False
                self._items.clear()
                raise

    def _drain(self) -> None:
        self._rung = False
        items = self._items
        try:
            while items:
                function, item = items.popleft()
                function(item)
        finally:
            if items and not self._rung:  # one raised; the loop reports it, the others go on
                self._rung = True
                self.loop.call_soon(self._drain)
