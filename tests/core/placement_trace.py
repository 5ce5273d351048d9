"""A trace of calls to many models, played against the very placement and caches of production.

Virtual time. Several callers, each with what it knows itself; replicas report their models a moment
later; a call holds a slot for its service time, and for the load of its model when that is not
there.
"""

from __future__ import annotations

import heapq
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate, count, islice
from typing import Any

from salver.core.affinity import Placement
from salver.core.cache import MISSING, Cache


class Replica:
    """A link and the replica behind it, as one caller sees it; callers know of each other's."""

    def __init__(self, name: str, room: int, window: int) -> None:
        self.name = name
        self.window = window
        self.inflight = 0
        self.others = 0
        self.cache: Cache[str] = Cache(room)
        self.loads: dict[str, list[int]] = {}


def zipf(models: int, calls: int, seed: int, skew: float = 1.0) -> list[str]:
    chance = random.Random(seed)
    weights = list(accumulate(1 / (rank + 1) ** skew for rank in range(models)))
    return [f"m{i}" for i in chance.choices(range(models), cum_weights=weights, k=calls)]


def ideal_hits(trace: list[str], room: int) -> int:
    """The hits of one LRU cache as large as all replicas together."""
    cache: OrderedDict[str, None] = OrderedDict()
    hits = 0
    for model in trace:
        if model in cache:
            hits += 1
            cache.move_to_end(model)
        else:
            cache[model] = None
            if len(cache) > room:
                cache.popitem(last=False)
    return hits


class Play:
    """Plays a trace; `hits` is what came out."""

    def __init__(self, replicas: int, room: int, window: int, callers: int = 2) -> None:
        self.replicas = [Replica(f"r{i}", room, window) for i in range(replicas)]
        self.names = [replica.name for replica in self.replicas]
        self.callers = [Placement() for _ in range(callers)]
        for replica in self.replicas:
            for caller in self.callers:
                caller.learn(replica.name, (), room)
        self.hits = 0
        self.waited_while_free = 0
        self._now = 0.0
        self._order = count()
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._queue: OrderedDict[int, tuple[str, int]] = OrderedDict()
        self._arrivals: Iterator[tuple[int, str]] = iter(())

    def run(self, trace: list[str], clients: int, service: float = 1.0, load: float = 20.0) -> Play:
        """So many clients, each with one call at a time."""
        self._service, self._load = service, load
        self._arrivals = iter(enumerate(trace))
        for _ in range(clients):
            self._arrive()
        while self._events:
            self._now, _, act, args = heapq.heappop(self._events)
            act(*args)
        return self

    def _after(self, delay: float, act: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._events, (self._now + delay, next(self._order), act, args))

    def _arrive(self) -> None:
        for ticket, model in islice(self._arrivals, 1):
            caller = self.callers[ticket % len(self.callers)]
            chosen = -1 if self._queue else caller.choose(model, self.names, self.replicas)
            if chosen < 0:
                self._queue[ticket] = model, ticket % len(self.callers)
            else:
                self._start(self.replicas[chosen], ticket, model)

    def _start(self, replica: Replica, call: int, model: str) -> None:
        replica.inflight += 1
        if replica.cache.get(model, call) is not MISSING:
            self.hits += 1
            self._after(self._service, self._end, replica, call)
        elif model in replica.loads:
            self.hits += 1  # it shares a load
            replica.loads[model].append(call)
        else:
            replica.loads[model] = [call]
            assert replica.cache.begin(model) is not None, "more room for models than for calls"
            self._report(replica)
            self._after(self._load, self._loaded, replica, model)

    def _loaded(self, replica: Replica, model: str) -> None:
        calls = replica.loads.pop(model)
        replica.cache.loaded(model, model, set(calls))
        self._report(replica)
        for call in calls:
            self._after(self._service, self._end, replica, call)

    def _end(self, replica: Replica, call: int) -> None:
        replica.inflight -= 1
        if replica.cache.let_go(call):
            self._report(replica)
        if self._queue:
            caller = self.callers[call % len(self.callers)]
            waiting = list(islice(self._queue.items(), 32))
            chosen = caller.next_for(replica.name, [model for _, (model, _) in waiting])
            ticket, (model, _) = waiting[chosen]
            del self._queue[ticket]
            self._start(replica, ticket, model)
        self._arrive()

    def _report(self, replica: Replica) -> None:
        models = replica.cache.models
        for caller in self.callers:
            self._after(0.2, caller.learn, replica.name, models, replica.cache.limit)
