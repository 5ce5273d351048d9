"""How long a call may still take."""

from __future__ import annotations

from collections.abc import Callable

from salver.client.errors import DeadlineError

__all__ = ("Deadline", "check_timeout")


def check_timeout(seconds: float) -> float:
    """The same, if it can be a limit. ValueError: it cannot."""
    if not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise ValueError(
            f"timeout={seconds!r} is not valid: expected a number of seconds above 0. "
            "Every call has a limit; give a large one for work that takes long."
        )
    return seconds


class Deadline:
    """A moment on the monotonic clock, and what it was made of."""

    __slots__ = ("_clock", "_end", "seconds")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self.seconds = check_timeout(seconds)
        self._clock = clock
        self._end = clock() + seconds

    def left(self) -> float:
        """Seconds; DeadlineError: none."""
        left = self._end - self._clock()
        if left <= 0:
            raise self.passed()
        return left

    def allows(self, seconds: float) -> bool:
        """Whether so much time is left."""
        return self._end - self._clock() > seconds

    def again(self) -> None:
        """As much time as at first, from now on."""
        self._end = self._clock() + self.seconds

    def passed(self) -> DeadlineError:
        """The error to raise when it has passed."""
        return DeadlineError(
            f"There was no answer within {self.seconds:g}s (`timeout`). The call was given up; "
            "whether it was done is unknown."
        )
