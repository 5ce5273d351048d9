"""Timers for very many connections: moving a deadline costs one attribute, not one timer.

An item says when it is to expire in `deadline` (0: never) and may move that as it likes. Only when
the deadline is to come earlier than the bucket that the item lies in must `watch` be called.
When a bucket's time has come, items whose deadline has moved on are put where they belong now.
One timer of the loop is armed, for the earliest bucket; none when nothing is watched.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ("TICK", "Timed", "TimerWheel")

_logger: Final = logging.getLogger("salver")
TICK: Final = 0.1  # seconds; nothing expires early, and nothing more than this late


class Timed(Protocol):
    """What can lie in a wheel."""

    deadline: float
    bucket: int  # owned by the wheel; 0: in none

    def expire(self) -> None: ...


class Handle(Protocol):
    def cancel(self) -> None: ...


class TimerWheel:
    """Expires its items; `clock` and `call_at` are a loop's, or a test's."""

    def __init__(
        self,
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], Handle],
    ) -> None:
        self._clock = clock
        self._call_at = call_at
        self._buckets: dict[int, set[Timed]] = {}
        self._order: list[int] = []
        self._armed: Handle | None = None
        self._armed_for = 0
        self._closed = False

    def watch(self, item: Timed) -> None:
        """See to it that the item lies no later than its deadline."""
        if self._closed:
            return
        number = int(item.deadline / TICK) + 1
        if item.bucket:
            if item.bucket <= number:
                return
            self._buckets[item.bucket].discard(item)
        item.bucket = number
        bucket = self._buckets.get(number)
        if bucket is None:
            self._buckets[number] = {item}
            heapq.heappush(self._order, number)
            self._arm()
        else:
            bucket.add(item)

    def forget(self, item: Timed) -> None:
        """The item is gone."""
        if item.bucket:
            self._buckets[item.bucket].discard(item)
            item.bucket = 0

    def close(self) -> None:
        """Nothing expires any more; what is watched or forgotten later does no harm."""
        self._closed = True
        if self._armed is not None:
            self._armed.cancel()
            self._armed = None
        for bucket in self._buckets.values():
            for item in bucket:
                item.bucket = 0
        self._buckets.clear()
        self._order.clear()

    def _arm(self) -> None:
        first = self._order[0]
        if self._armed is not None:
            if self._armed_for <= first:
                return
            self._armed.cancel()
        self._armed_for = first
        self._armed = self._call_at(first * TICK, self._fire)

    def _fire(self) -> None:
        self._armed = None
        now = self._clock()
        # A loop may call a whisker early; what is armed is due, whatever the clock says.
        limit = max(self._armed_for, int(now / TICK))
        late: list[Timed] = []
        while self._order and self._order[0] <= limit:
            for item in self._buckets.pop(heapq.heappop(self._order)):
                item.bucket = 0
                if item.deadline:
                    late.append(item)
        if self._order:
            self._arm()
        for item in late:
            if item.deadline > max(now, limit * TICK):
                self.watch(item)
            elif item.deadline:
                self._expire(item)

    def _expire(self, item: Timed) -> None:
        try:
            item.expire()
        except Exception:  # the others are due all the same
            _logger.exception("A connection could not be ended when its time was over:")
