"""Changes of state, for people: remembered for a while, told to everyone who listens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from salver.spec.status import Event

__all__ = ("Events",)

REMEMBERED: Final = 1000


class Events:
    """A short history and its listeners."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._history: deque[Event] = deque(maxlen=REMEMBERED)
        self._listeners: list[Callable[[Event], None]] = []

    def emit(self, subject: str, state: str, message: str = "") -> None:
        event = Event(self._clock(), subject, state, message)
        self._history.append(event)
        for listener in list(self._listeners):
            listener(event)

    def listen(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Tell it what was and what comes; the result ends that."""
        for event in self._history:
            listener(event)
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None
