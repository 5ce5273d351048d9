"""What went wrong in a row with one deployment, and when the next attempt is due."""

from __future__ import annotations

from typing import Final

import msgspec

from salver.core.backoff import Backoff

__all__ = ("Failures", "budget")

DEFAULT_RETRIES: Final = 20
RETRIES_PER_REPLICA: Final = 3
STARTS: Final = Backoff(base_s=0.25, limit_s=30.0)
# A replica that ran is replaced at once; only one that keeps dying is held back.
DEATHS: Final = Backoff(base_s=0.5, limit_s=30.0, free=1)
LONG_LIFE_S: Final = 60.0


class Failures(msgspec.Struct, frozen=True):
    """A successful start forgets failed starts; a long life forgets deaths."""

    starts: int = 0
    deaths: int = 0
    next_at: float = 0.0
    message: str = ""
    gave_up: bool = False

    def start_failed(self, now: float, message: str) -> Failures:
        starts = self.starts + 1
        return Failures(starts, self.deaths, now + STARTS.delay(starts), message, self.gave_up)

    def started(self) -> Failures:
        return msgspec.structs.replace(self, starts=0)

    def died(self, now: float, message: str, lived_s: float) -> Failures:
        deaths = 1 if lived_s >= LONG_LIFE_S else self.deaths + 1
        return Failures(self.starts, deaths, now + DEATHS.delay(deaths), message, self.gave_up)

    def give_up(self, message: str) -> Failures:
        return msgspec.structs.replace(self, gave_up=True, message=message)


def budget(num_replicas: int, max_constructor_retry_count: int) -> int:
    """Failed starts in a row that are borne: three per replica, unless the user has said."""
    if max_constructor_retry_count != DEFAULT_RETRIES:
        return max_constructor_retry_count
    return min(DEFAULT_RETRIES, RETRIES_PER_REPLICA * num_replicas)
