"""When the controller looks at everything: after each change, and seldom where that takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ("Pace",)

_QUICK_S: Final = 0.002  # a look that is worth no thought
_RESTS: Final = 3  # times as long as a longer look took, until the next: changes come together then


class Pace:
    """Calls `look` at the end of the tick in which something is due, or when it has rested."""

    def __init__(self, look: Callable[[], None], clock: Callable[[], float]) -> None:
        self._look_at_all = look
        self._clock = clock
        self._rested_at = 0.0
        self._scheduled: asyncio.Handle | None = None

    def due(self) -> None:
        """Something has changed. Event loop only."""
        if self._scheduled is None:
            loop, pause = asyncio.get_running_loop(), self._rested_at - self._clock()
            later = loop.call_later(pause, self._look) if pause > 0 else None
            self._scheduled = later or loop.call_soon(self._look)

    def close(self) -> None:
        """Look no more."""
        if self._scheduled is not None:
            self._scheduled.cancel()

    def _look(self) -> None:
        self._scheduled = None
        began = self._clock()
        self._look_at_all()
        now = self._clock()
        self._rested_at = now + _RESTS * max(0.0, now - began - _QUICK_S)
