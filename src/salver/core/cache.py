"""Which models stay in memory: the least recently asked for leaves first, what is in use stays.

A model is in use while a holder (a running call) that asked for it has not let go of it.
`limit` is how many models are kept. A load may begin while there is a model that could leave for
it; by default that one leaves when the load has succeeded, so that a failed load costs nothing, and
for as long as it takes there is one model more. With `evict_first` it leaves before.

A holder that asks for more models than there is room for gives up what it holds alone, before it
would wait for others or for itself: so nobody waits in a circle. What is given up is no longer
found here, but it is only handed out to be ended when its holder lets go.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Set
from typing import Final, Generic, TypeVar

__all__ = ("MISSING", "UNLIMITED", "Cache")

V = TypeVar("V")
MISSING: Final = object()
UNLIMITED: Final = -1


class _Entry(Generic[V]):
    __slots__ = ("holders", "value")

    def __init__(self, value: V, holders: set[Hashable]) -> None:
        self.value = value
        self.holders = holders


class Cache(Generic[V]):
    """Models by id. What a method returns as a list has left, and is to be ended."""

    __slots__ = ("_entries", "_holds", "_left", "_loading", "evict_first", "limit")

    def __init__(self, limit: int, *, evict_first: bool = False) -> None:
        self.limit = limit
        self.evict_first = evict_first
        self._entries: OrderedDict[str, _Entry[V]] = OrderedDict()  # the last asked for comes last
        self._loading: dict[str, None] = {}
        self._left: list[_Entry[V]] = []  # given up, and still held
        self._holds: dict[Hashable, list[_Entry[V]]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, model: object) -> bool:
        return model in self._entries

    @property
    def models(self) -> tuple[str, ...]:
        """What is here or about to be."""
        return (*self._entries, *self._loading)

    def get(self, model: str, holder: Hashable | None = None) -> V | object:
        """The model, which the holder holds from now on; MISSING: it is not here."""
        entry = self._entries.get(model)
        if entry is None:
            return MISSING
        self._entries.move_to_end(model)
        if holder is not None:
            self._hold(entry, holder)
        return entry.value

    def begin(self, model: str, waiting: Set[Hashable] = frozenset()) -> list[V] | None:
        """Begin to load; None: it has to wait until somebody lets go.

        `waiting` are the holders that wait for a load, this one among them.
        """
        if self.limit != UNLIMITED:
            held = [key for key, entry in self._entries.items() if entry.holders]
            excess = len(held) + len(self._loading) + 1 - self.limit
            if excess > 0:
                given_up = [key for key in held if self._entries[key].holders <= waiting]
                if len(given_up) < excess:
                    return None
                for key in given_up[:excess]:
                    self._left.append(self._entries.pop(key))
        self._loading[model] = None
        return self._trim(len(self._loading)) if self.evict_first else []

    def loaded(self, model: str, value: V, holders: Set[Hashable] = frozenset()) -> list[V]:
        """The load that had begun has succeeded."""
        del self._loading[model]
        entry = self._entries[model] = _Entry(value, set())
        for holder in holders:
            self._hold(entry, holder)
        # What was just loaded is not what leaves for it, though nobody may hold it.
        return self._trim(keep=model)

    def failed(self, model: str) -> None:
        """The load that had begun has failed."""
        del self._loading[model]

    def let_go(self, holder: Hashable) -> list[V]:
        """The holder uses nothing any more."""
        for entry in self._holds.pop(holder, ()):
            entry.holders.discard(holder)
        ended = [entry.value for entry in self._left if not entry.holders]
        if ended:
            self._left = [entry for entry in self._left if entry.holders]
        return ended + self._trim()

    def clear(self) -> list[V]:
        """Forget everything."""
        values = [entry.value for entry in (*self._entries.values(), *self._left)]
        self._entries.clear()
        self._left.clear()
        self._holds.clear()
        return values

    def _hold(self, entry: _Entry[V], holder: Hashable) -> None:
        if holder not in entry.holders:
            entry.holders.add(holder)
            self._holds.setdefault(holder, []).append(entry)

    def _trim(self, reserved: int = 0, keep: str = "") -> list[V]:
        """Let leave what is too much, as far as nobody holds it."""
        excess = len(self._entries) + reserved - self.limit
        if self.limit == UNLIMITED or excess <= 0:
            return []
        idle = [key for key, entry in self._entries.items() if not entry.holders and key != keep]
        return [self._entries.pop(key).value for key in idle[:excess]]
