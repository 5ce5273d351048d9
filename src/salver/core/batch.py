"""Which of the waiting items form the next batch, and when it starts.

A batch starts while fewer run than may, as soon as it is full or its oldest item has waited long
enough; with no wait set, as soon as there is an item. It `opens` before it is `taken`: what comes
in between joins it, so that calls of one moment share a batch and none of them waits for that.

Items of one group (they ask for the same model) stand in one line. A batch is the front of one
line, as much as fits; the line whose first item is the oldest comes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Generic, Protocol, TypeVar

from salver.spec.batching import BatchOptions

__all__ = ("Batches", "Item")


class Item(Protocol):
    """What waits: since when, and only with items of its own group."""

    group: str
    since: float


T = TypeVar("T", bound=Item)
Size = Callable[[list[T]], float]


class Line(Generic[T]):
    """The items of one group, the oldest first. What of it fits is only known with a size."""

    __slots__ = ("closed", "fitting", "items")

    def __init__(self) -> None:
        self.items: OrderedDict[T, None] = OrderedDict()
        self.fitting = 0  # so many from the front are known to fit together
        self.closed = False  # ... and not one more

    @property
    def first(self) -> T:
        return next(iter(self.items))

    def front(self, count: int) -> list[T]:
        return list(islice(self.items, count))

    def forget(self) -> None:
        """What fits is to be found out anew."""
        self.fitting = 0
        self.closed = False


class Batches(Generic[T]):
    """The items that wait for a batch, and the number of batches that run."""

    __slots__ = ("_lines", "_opening", "_options", "_refused", "_size_of", "running")

    def __init__(self, options: BatchOptions, size_of: Size[T] | None = None) -> None:
        self._options = options
        self._size_of = size_of  # None: the number of items
        self._lines: dict[str, Line[T]] = {}
        self._refused: list[tuple[T, Exception]] = []
        self._opening = False
        self.running = 0  # with the one that opens

    def __len__(self) -> int:
        return sum(len(line.items) for line in self._lines.values())

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def options(self) -> BatchOptions:
        return self._options

    @options.setter
    def options(self, options: BatchOptions) -> None:
        self._options = options
        for line in self._lines.values():
            line.forget()

    def push(self, item: T) -> None:
        """Wait behind all others of the group."""
        line = self._lines.get(item.group)
        if line is None:
            line = self._lines[item.group] = Line()
        line.items[item] = None

    def discard(self, item: T) -> bool:
        """Wait no longer; whether it did."""
        line = self._lines.get(item.group)
        if line is None or item not in line.items:
            return False
        self._remove(line, item)
        line.forget()
        return True

    def opens(self, now: float) -> T | None:
        """The item that a batch is to start for at this moment, if one is; `take` follows."""
        if self._opening or self.running >= self._options.max_concurrent_batches:
            return None
        line = self._next(now)
        if line is None:
            return None
        self._opening = True
        self.running += 1
        return line.first

    def take(self, now: float) -> list[T]:
        """The items of the batch that opened. When none is left of them, it has ended."""
        self._opening = False
        while (line := self._next(now)) is not None:
            self._measure(line)
            taken = [line.items.popitem(last=False)[0] for _ in range(line.fitting)]
            line.forget()
            if taken:
                if not line.items:
                    del self._lines[taken[0].group]
                return taken
        self.running -= 1
        return []

    def ended(self, *, opening: bool = False) -> None:
        """A batch runs no longer; or it opened, and will not be taken."""
        self.running -= 1
        if opening:
            self._opening = False

    def due_at(self) -> float | None:
        """When to look again although nothing happens; None: there is no such time."""
        wait = self._options.batch_wait_timeout_s
        busy = self._opening or self.running >= self._options.max_concurrent_batches
        if wait is None or busy or not self._lines:
            return None
        return min(line.first.since for line in self._lines.values()) + wait

    def refused(self) -> list[tuple[T, Exception]]:
        """The items that no batch can hold, and why; they wait no longer. Told once."""
        refused = self._refused
        if refused:
            self._refused = []
        return refused

    # ---- inside

    def _next(self, now: float) -> Line[T] | None:
        """The line whose front is the next batch, if one is to start now."""
        if self._options.batch_wait_timeout_s is None and len(self._lines) == 1:
            return next(iter(self._lines.values()))
        best = None
        for line in tuple(self._lines.values()):
            if self._due(line, now) and (best is None or line.first.since < best.first.since):
                best = line
        return best

    def _due(self, line: Line[T], now: float) -> bool:
        wait = self._options.batch_wait_timeout_s
        if wait is None:
            return True
        self._measure(line)
        return line.closed or (bool(line.items) and line.first.since + wait <= now)

    def _measure(self, line: Line[T]) -> None:
        """Find out what fits. An item that fits no batch is refused."""
        limit = self._options.max_batch_size
        if self._size_of is None:
            line.fitting = min(len(line.items), limit)
            line.closed = line.fitting == limit
            return
        step = 1  # doubled while all fits, so that long lines need few questions
        while not line.closed and line.fitting < len(line.items):
            asked = line.front(line.fitting + step)
            alone = len(asked) == line.fitting + 1
            try:
                size = self._size_of(asked)
                fits = size <= limit
            except Exception as error:  # noqa: BLE001 - a function of the user's: a caller is told
                if alone:
                    self._refuse(line, asked[-1], error)
                step = 1
                continue
            if fits:
                line.fitting = len(asked)
                line.closed = size == limit
                step *= 2
            elif not alone:
                step = 1
            elif line.fitting:
                line.closed = True
            else:
                self._refuse(line, asked[0], _too_large(size, limit))

    def _refuse(self, line: Line[T], item: T, error: Exception) -> None:
        self._refused.append((item, error))
        self._remove(line, item)

    def _remove(self, line: Line[T], item: T) -> None:
        del line.items[item]
        if not line.items:
            del self._lines[item.group]


def _too_large(size: float, limit: int) -> RuntimeError:
    return RuntimeError(
        f"This item has size {size} by batch_size_fn, and a batch holds {limit} at most. "
        "Make max_batch_size larger, or send less in one call."
    )
