"""The queue in front of a deployment: bounded, longest waiter first, with calls that come back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

__all__ = ("Queue",)

T = TypeVar("T")
_STALE: Final = 64  # tickets of items that are no longer there, before they are looked for


class Queue(Generic[T]):
    """Waiting items by ticket, a number that grows with arrival. Every operation is O(log n).

    An item that was given out and comes back (a replica turned it away, or died before it began)
    is older than all that still wait, for items are given out in order; so those that came back
    stand in front, by ticket among themselves.
    """

    __slots__ = ("_fresh", "_order", "_returned", "limit")

    def __init__(self, limit: int = -1) -> None:
        self.limit = limit
        self._fresh: OrderedDict[int, T] = OrderedDict()
        self._returned: dict[int, T] = {}
        self._order: list[int] = []  # heap of tickets of returned items, some no longer there

    def __len__(self) -> int:
        return len(self._fresh) + len(self._returned)

    def __iter__(self) -> Iterator[T]:
        """The items, longest waiter first."""
        for ticket in sorted(self._returned):
            yield self._returned[ticket]
        yield from self._fresh.values()

    def admits(self, spare: int = 0) -> bool:
        """Whether one more may wait; `spare` items more are about to be given out."""
        return self.limit < 0 or len(self) < self.limit + spare

    def push(self, ticket: int, item: T) -> None:
        """Wait behind all others."""
        self._fresh[ticket] = item

    def put_back(self, ticket: int, item: T) -> None:
        """Wait in front again, by age."""
        if ticket not in self._returned:
            heappush(self._order, ticket)
        self._returned[ticket] = item

    def pop(self) -> T | None:
        """The longest waiter, or None."""
        while self._order:
            item = self._returned.pop(heappop(self._order), None)
            if item is not None:
                return item
        return self._fresh.popitem(last=False)[1] if self._fresh else None

    def shed(self, spare: int = 0) -> list[T]:
        """Take out those that would not have been let in, the newest first."""
        shed = []
        while self._fresh and self.limit >= 0 and len(self) > self.limit + spare:
            shed.append(self._fresh.popitem()[1])
        return shed

    def discard(self, ticket: int) -> bool:
        """Wait no longer; whether it did."""
        if self._fresh.pop(ticket, None) is not None:
            return True
        waited = self._returned.pop(ticket, None) is not None
        if len(self._order) > 2 * len(self._returned) + _STALE:
            self._order = sorted(self._returned)  # which is a heap
        return waited

    def drain(self) -> list[T]:
        """Take everything out, longest waiter first."""
        items = list(self)
        self._fresh.clear()
        self._returned.clear()
        self._order.clear()
        return items
