"""Which replica gets a call for a model: one that holds it, unless it is busier than the others.

Replicas say which models they hold. A model that nobody holds goes to the replica with most room
for models, and where all are full to the one that a hash of both names picks (rendezvous hashing):
so every caller picks the same one without asking, and replicas share the models among themselves
as if they were one large cache. A replica that has more than its share of the calls is passed over
(bounded loads), and so a hot model spreads to as many replicas as it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

from salver.core.choice import Candidate

__all__ = ("Placement", "bound", "preference")

_SHARE: Final = 1.25  # of the mean load that a replica may have before it is passed over, and
_SLACK: Final = 2.0  # so many calls more: to load a model elsewhere costs more than a short wait
_UNHEARD: Final = 2  # reports of a replica without a model that was to be loaded there
_EXPECTED: Final = 256  # models that are remembered as about to be loaded
_OVERTAKEN: Final = 64  # calls that may be taken before the one that waits longest
_MASK: Final = (1 << 64) - 1


def bound(loads: Sequence[int]) -> float:
    """The load from which on a replica is passed over, when these are all."""
    return _SHARE * (sum(loads) + 1) / len(loads) + _SLACK


def preference(key: str, name: str) -> int:
    """How much this key prefers the replica of that name: the same in every process."""
    mixed = (_hash(key) ^ _hash(name)) * 0x9E3779B97F4A7C15 & _MASK
    mixed ^= mixed >> 32
    mixed = mixed * 0xD6E8FEB86659FD93 & _MASK
    return mixed ^ mixed >> 32


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


class Placement:
    """What one caller knows of models and replicas, and the choice that follows from it."""

    __slots__ = ("_expected", "_held", "_holders", "_overtaken", "_room")

    def __init__(self) -> None:
        self._held: dict[str, frozenset[str]] = {}  # by replica
        self._room: dict[str, int] = {}  # by replica: how many models it may hold; -1: any number
        self._holders: dict[str, set[str]] = {}  # by model
        # By model: the replica that was chosen to load it and has not reported it, and how often.
        self._expected: dict[str, tuple[str, int]] = {}
        self._overtaken = 0

    # ---- what replicas report

    def learn(self, replica: str, models: Iterable[str], room: int) -> None:
        """The replica now holds these models."""
        now = frozenset(models)
        before = self._held.get(replica, frozenset())
        for model in before - now:
            self._drop(model, replica)
        for model in now - before:
            self._holders.setdefault(model, set()).add(replica)
        self._held[replica] = now
        self._room[replica] = room
        for model, (chosen, unheard) in list(self._expected.items()):
            if chosen == replica:
                if model in now or unheard + 1 >= _UNHEARD:
                    del self._expected[model]
                else:
                    self._expected[model] = chosen, unheard + 1

    def forget(self, replica: str) -> None:
        """The replica is gone."""
        for model in self._held.pop(replica, ()):
            self._drop(model, replica)
        self._room.pop(replica, None)
        for model, (chosen, _) in list(self._expected.items()):
            if chosen == replica:
                del self._expected[model]

    def _drop(self, model: str, replica: str) -> None:
        holders = self._holders[model]
        holders.discard(replica)
        if not holders:
            del self._holders[model]

    # ---- choices

    def holders(self, model: str) -> set[str]:
        """The replicas that hold the model, or will in a moment."""
        expected = self._expected.get(model)
        known = self._holders.get(model, set())
        return known if expected is None else known | {expected[0]}

    def choose(self, model: str, names: Sequence[str], candidates: Sequence[Candidate]) -> int:
        """The index of the replica for a call to this model; -1: none has room for a call."""
        if not candidates:
            return -1
        loads = [c.inflight + c.others for c in candidates]
        free = [i for i, c in enumerate(candidates) if c.inflight < c.window]
        if not free:
            return -1
        limit = bound(loads)
        idle = [i for i in free if loads[i] < limit]
        holders = self.holders(model)
        held = [i for i in idle if names[i] in holders]
        if held:
            return min(held, key=loads.__getitem__)
        if not idle:
            return min(free, key=loads.__getitem__)
        chosen = self._home(model, idle, names)
        self._expected[model] = names[chosen], 0
        if len(self._expected) > _EXPECTED:  # nobody loads them: forget the first
            del self._expected[next(iter(self._expected))]
        return chosen

    def _home(self, model: str, idle: list[int], names: Sequence[str]) -> int:
        """Where a model is to be loaded."""
        spare = [i for i in idle if self._spare(names[i])]
        if spare:
            fewest = min(self._count(names[i]) for i in spare)
            idle = [i for i in spare if self._count(names[i]) == fewest]
        return max(idle, key=lambda i: preference(model, names[i]))

    def _spare(self, name: str) -> bool:
        room = self._room.get(name, 0)
        return room < 0 or self._count(name) < room

    def _count(self, name: str) -> int:
        expected = sum(1 for chosen, _ in self._expected.values() if chosen == name)
        return len(self._held.get(name, ())) + expected

    def next_for(self, name: str, models: Iterable[str]) -> int:
        """Which of the waiting calls, the longest waiter first, a replica with a free slot gets.

        One for a model that it holds, else one for a model that nobody holds, else the first; and
        the first in any case when many have overtaken it.
        """
        unheld = chosen = -1
        if self._overtaken < _OVERTAKEN:
            for i, model in enumerate(models):
                holders = self.holders(model) if model else {name}
                if name in holders:
                    chosen = i
                    break
                if unheld < 0 and not holders:
                    unheld = i
        chosen = chosen if chosen >= 0 else max(unheld, 0)
        self._overtaken = self._overtaken + 1 if chosen else 0
        return chosen
