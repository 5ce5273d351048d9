"""How much of what costs a server more than its client is put up with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from salver.doors.http2.frames import ENHANCE_YOUR_CALM, ConnectionFault

__all__ = ("Patience",)

# More than comes of a client whose every call is cancelled, or out of time, as fast as a door can
# take them; and to read so many costs a small part of a second.
_MOST: Final = 20_000
_PER_SECOND: Final = 10_000


class Patience:
    """Used up by frames that carry nothing, comes back with time."""

    __slots__ = ("_clock", "_left", "_looked")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._left = _MOST
        self._looked = clock()

    def strain(self, cost: int = 1, text: str = "Too many frames that carry nothing.") -> None:
        """One more such frame, or one as hard as so many. ConnectionFault: that was too much."""
        self._left -= cost
        if self._left > 0:
            return
        now = self._clock()
        self._left = min(int((now - self._looked) * _PER_SECOND), _MOST)
        self._looked = now
        if self._left <= 0:
            raise ConnectionFault(ENHANCE_YOUR_CALM, text)
