"""Consistent hashing: a key's replicas, most of which stay the same when replicas come and go."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from hashlib import blake2b

__all__ = ("Ring",)


class Ring:
    """Each name stands at `points` places of a circle; a key belongs to the next one after it."""

    __slots__ = ("_names", "_places", "names")

    def __init__(self, names: Iterable[str], points: int) -> None:
        self.names = frozenset(names)
        placed = sorted((_place(f"{n}#{i}"), n) for n in self.names for i in range(points))
        self._places = [place for place, _ in placed]
        self._names = [name for _, name in placed]

    def first(self, key: str, count: int) -> list[str]:
        """The key's own name, then those that stand in for it: `count` in all, if there are."""
        found: dict[str, None] = {}
        start = bisect_right(self._places, _place(key))
        for i in range(start - len(self._names), start):
            found.setdefault(self._names[i])
            if len(found) >= min(count, len(self.names)):
                break
        return list(found)


def _place(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
