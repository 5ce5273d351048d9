"""Shared memory that one process lends to others: slabs that are used again and again.

Reuse is the point: pages that were touched once cost nothing the next time, while fresh shared
memory per message is slower than copying through a socket.
"""

from __future__ import annotations

import logging
import mmap
import os
import secrets
import time
from collections.abc import Callable
from typing import Final

from salver.wire import memfd
from salver.wire.messages import ArenaNote

__all__ = ("Arena", "Slab")

_MIN_ORDER: Final = 16  # 64 KiB
_MAX_ORDER: Final = 26  # 64 MiB
_IDLE_S: Final = 10.0

_log = logging.getLogger("salver.wire")


class Slab:
    """A stretch of an arena, lent to whoever holds a count on it. Its first bytes are anyone's."""

    __slots__ = ("_arena", "_order", "_refs", "arena", "offset", "room", "size")

    def __init__(self, arena: Arena, order: int, offset: int, size: int, room: memoryview) -> None:
        self._arena = arena
        self._order = order
        self._refs = 1
        self.arena = arena.id
        self.offset = offset
        self.size = size
        self.room = room  # all of it, which may be more than was asked for

    @property
    def view(self) -> memoryview:
        """What was asked for."""
        return self.room[: self.size]

    def retain(self) -> None:
        self._refs += 1

    def release(self) -> None:
        """Give up one count; with the last one the memory may be used again."""
        self._refs -= 1
        if self._refs == 0:
            self._arena.give_back(self._order, self.offset)
        elif self._refs < 0:
            raise RuntimeError("A slab was released more often than it was retained.")


class Arena:
    """Lends power-of-two slabs of one memfd. All calls from one thread (the loop's).

    The file is as long as the bound from the start; memory is taken as slabs are touched, and given
    back to the system when they lay idle for a while.
    """

    def __init__(self, bound: int | None = None, *, idle_s: float = _IDLE_S) -> None:
        bound = _default_bound() if bound is None else max(bound, 1 << _MIN_ORDER)
        self.id = secrets.randbits(62) + 1  # 0 means "not in an arena" on the wire
        self.call_later: Callable[[float, Callable[[], None]], object] | None = None
        self._top = min(_MAX_ORDER, bound.bit_length() - 1)
        self.size = bound >> self._top << self._top
        self._idle_s = idle_s
        self._end = 0  # blocks of the top order below here have been carved
        self._free: list[list[tuple[int, float]]] = [[] for _ in range(self._top + 1)]
        self._file: memfd.MemFile | None = None
        self._map: mmap.mmap | None = None
        self._view = memoryview(b"")
        self._armed = False
        self._broken = False
        self.lent = 0  # bytes

    @property
    def note(self) -> ArenaNote | None:
        """What a peer must know to map it; None before the first slab was lent."""
        if self._file is None:
            return None
        return ArenaNote(self.id, os.getpid(), self._file.fd, self.size)

    def lend(self, size: int) -> Slab | None:
        """A slab of at least that size, or None: too large, or too much is lent out already."""
        order = max(_MIN_ORDER, (size - 1).bit_length())
        if order > self._top or (self._map is None and not self._start()):
            return None
        free = self._free[order]
        offset = free.pop()[0] if free else self._carve(order)
        if offset is None:
            return None
        self.lent += 1 << order
        return Slab(self, order, offset, size, self._view[offset : offset + (1 << order)])

    def give_back(self, order: int, offset: int) -> None:
        """Called by the slab whose last count was released."""
        self.lent -= 1 << order
        self._free[order].append((offset, time.monotonic()))
        if not self._armed:
            self._arm()

    def trim(self) -> None:
        """Give the pages of slabs that lay idle back to the system."""
        self._armed = False
        if self._map is None:
            return
        limit = time.monotonic() - self._idle_s
        waiting = False
        for order, entries in enumerate(self._free):
            clean = [entry for entry in entries if not entry[1]]
            dirty = []
            for offset, since in entries:
                if since and since <= limit:
                    self._map.madvise(mmap.MADV_REMOVE, offset, 1 << order)
                    clean.append((offset, 0.0))
                elif since:
                    dirty.append((offset, since))
            self._free[order] = clean + dirty  # the warm ones last: they are taken first
            waiting = waiting or bool(dirty)
        if waiting:
            self._arm()

    def close(self) -> None:
        """Forget the memory. Peers that have mapped it keep what they hold."""
        self._broken = True
        self._view = memoryview(b"")
        self._map = None  # unmapped when the last view of a slab is gone
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start(self) -> bool:
        if self._broken:
            return False
        try:
            self._file = memfd.create("arena", self.id, self.size)
            self._map = mmap.mmap(self._file.fd, self.size)
        except (OSError, ValueError) as error:
            self._broken = True
            _log.warning("No shared memory here, large payloads go by socket: %s", error)
            return False
        self._view = memoryview(self._map)
        return True

    def _carve(self, order: int) -> int | None:
        offset = self._take(order)
        if offset is None:
            self._coalesce()
            offset = self._take(order)
        return offset

    def _take(self, order: int) -> int | None:
        found = order
        while not self._free[found]:
            found += 1
            if found > self._top:
                if self._end >= self.size:
                    return None
                self._free[self._top].append((self._end, 0.0))
                self._end += 1 << self._top
                found = self._top
        offset, since = self._free[found].pop()
        while found > order:
            found -= 1
            self._free[found].append((offset + (1 << found), since))
        return offset

    def _coalesce(self) -> None:
        for order in range(_MIN_ORDER, self._top):
            entries = dict(self._free[order])
            kept = []
            for offset in list(entries):
                if offset not in entries:
                    continue
                since = entries.pop(offset)
                buddy = offset ^ (1 << order)
                if buddy in entries:
                    whole = (min(offset, buddy), max(since, entries.pop(buddy)))
                    self._free[order + 1].append(whole)
                else:
                    kept.append((offset, since))
            self._free[order] = kept

    def _arm(self) -> None:
        if self.call_later is not None:
            self._armed = True
            self.call_later(self._idle_s, self.trim)


def _default_bound() -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(1 << 30, memory // 4)
