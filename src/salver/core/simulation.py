"""A deployment that autoscales, played through: the same decisions, invented requests, no waiting.

One router, first come first served, to the least busy replica; replicas that take a while to
start, and drain before they end. Reports and looks come when they would come in production.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, NamedTuple

import msgspec

from salver.core.autoscale import (
    Autoscaler,
    Decision,
    default_autoscaling_policy,
    report_pauses,
)
from salver.spec.autoscaling import AutoscalingConfig, AutoscalingContext
from salver.spec.ids import DeploymentId, ReplicaId

__all__ = ("Finished", "Outcome", "Sample", "Scenario", "simulate")

REPORT_GAP_S: Final = 0.01  # between two reports for the sake of requests that wait

PolicyFunction = Callable[[AutoscalingContext], tuple[float, dict[str, Any]]]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """What is played. `at_once`: so many of its requests a replica works on, the others wait in it;
    None: all of them."""

    config: AutoscalingConfig
    deployment: DeploymentId = DeploymentId("Deployment", "default")
    max_ongoing: int = 5
    max_queued: int = -1
    at_once: int | None = None
    startup_s: float = 1.0
    duration_s: float = 600.0
    epoch: float = 0.0  # what the policy is told of the time at the beginning


class Sample(NamedTuple):
    """One moment."""

    at: float
    replicas: int  # that take requests
    starting: int
    target: int
    wish: float
    queued: int
    running: int


class Finished(NamedTuple):
    """One request: when it came, how long it waited in line and how long it took in all."""

    came: float
    waited: float
    took: float


class Outcome(msgspec.Struct):
    """What has come of it."""

    samples: list[Sample] = []
    finished: list[Finished] = []
    refused: list[float] = []  # when
    decisions: list[tuple[float, Decision]] = []
    unfinished: list[float] = []  # when those came that were not done at the end
    replica_s: float = 0.0  # replicas, starting ones too, times seconds


class _Replica:
    """One copy: what it works on and what waits in it."""

    __slots__ = ("busy", "draining", "id", "ongoing", "waiting")

    def __init__(self, name: ReplicaId) -> None:
        self.id = name
        self.ongoing = 0
        self.busy = 0
        self.waiting: deque[tuple[float, float]] = deque()  # when each came, how long it waited
        self.draining = False


def simulate(
    scenario: Scenario,
    arrivals: Iterable[float],
    service: Callable[[], float],
    policy: PolicyFunction = default_autoscaling_policy,
) -> Outcome:
    """Play it. `arrivals` in order; `service` says how long the next request is worked on."""
    own_policy = policy is not default_autoscaling_policy
    return _Simulation(scenario, iter(arrivals), service, policy, own_policy=own_policy).run()


class _Simulation:
    """One run. Everything happens in events, in the order of their times."""

    def __init__(
        self,
        scenario: Scenario,
        arrivals: Iterator[float],
        service: Callable[[], float],
        policy: PolicyFunction,
        *,
        own_policy: bool,
    ) -> None:
        self._scenario = scenario
        self._arrivals = arrivals
        self._service = service
        self._policy = policy
        self._scaler = Autoscaler(
            scenario.deployment,
            scenario.config,
            max_ongoing=scenario.max_ongoing,
            own_policy=own_policy,
        )
        self._at_once = scenario.at_once or scenario.max_ongoing
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], Any]] = []
        self._order = count()
        self._numbers = count(1)
        self._queue: deque[float] = deque()
        self._ready = [self._new() for _ in range(self._scaler.target)]
        self._starting: list[_Replica] = []
        self._draining = 0
        self._running = 0
        self._calls = 0
        self._told: tuple[int, int, int] | None = None
        self._pauses = report_pauses(scenario.config.report_s)
        self._last_report = float("-inf")
        self._report_due = False
        self._look_due = float("inf")
        self._wish = 0.0
        self._counted = 0.0
        self._outcome = Outcome()

    def run(self) -> Outcome:
        end = self._scenario.duration_s
        self._next_arrival()
        self._at(0.0, self._tick)
        while self._events and self._events[0][0] <= end:
            self._now, _, act, what = heappop(self._events)
            if what is None:
                act()
            else:
                act(*what)
        self._now = end
        self._count()
        self._sample()
        self._outcome.unfinished = sorted([*self._queue, *self._under_way()])
        return self._outcome

    def _under_way(self) -> Iterator[float]:
        worked_on = [what for _, _, act, what in self._events if act == self._finish]
        yield from (came for _, came, _ in worked_on)
        for replica in {*self._ready, *(replica for replica, _, _ in worked_on)}:
            yield from (came for came, _ in replica.waiting)

    def _at(self, moment: float, act: Callable[..., None], *what: Any) -> None:
        heappush(self._events, (moment, next(self._order), act, what or None))

    # ---- requests

    def _next_arrival(self) -> None:
        moment = next(self._arrivals, None)
        if moment is not None:
            self._at(moment, self._arrive)

    def _arrive(self) -> None:
        self._calls += 1
        self._next_arrival()
        replica = None if self._queue else self._free()
        if replica is not None:
            self._begin(replica, self._now)
        elif 0 <= self._scenario.max_queued <= len(self._queue):
            self._outcome.refused.append(self._now)
        else:
            self._queue.append(self._now)
            self._hurry()

    def _free(self) -> _Replica | None:
        least, found = self._scenario.max_ongoing, None
        for replica in self._ready:
            if replica.ongoing < least:
                least, found = replica.ongoing, replica
                if not least:
                    break
        return found

    def _begin(self, replica: _Replica, came: float) -> None:
        replica.ongoing += 1
        self._running += 1
        if replica.busy < self._at_once:
            self._work(replica, came, self._now - came)
        else:
            replica.waiting.append((came, self._now - came))

    def _work(self, replica: _Replica, came: float, waited: float) -> None:
        replica.busy += 1
        self._at(self._now + self._service(), self._finish, replica, came, waited)

    def _finish(self, replica: _Replica, came: float, waited: float) -> None:
        self._outcome.finished.append(Finished(came, waited, self._now - came))
        replica.busy -= 1
        replica.ongoing -= 1
        self._running -= 1
        if replica.waiting:
            self._work(replica, *replica.waiting.popleft())
        if replica.draining:
            self._end_if_done(replica)
        else:
            self._serve()

    def _serve(self) -> None:
        """Free room goes to the longest waiter."""
        while self._queue and (replica := self._free()) is not None:
            self._begin(replica, self._queue.popleft())

    # ---- replicas

    def _scale(self) -> None:
        """Be as many as the target says: the least advanced go first, then the youngest."""
        self._count()
        missing = self._scaler.target - len(self._ready) - len(self._starting)
        for _ in range(missing):
            replica = self._new()
            self._starting.append(replica)
            self._at(self._now + self._scenario.startup_s, self._started, replica)
        for _ in range(-missing):
            if self._starting:
                self._starting.pop()
            else:
                replica = self._ready.pop()
                replica.draining = True
                self._draining += 1
                self._end_if_done(replica)

    def _new(self) -> _Replica:
        return _Replica(ReplicaId(f"{next(self._numbers):08x}", self._scenario.deployment))

    def _started(self, replica: _Replica) -> None:
        if replica in self._starting:
            self._count()
            self._starting.remove(replica)
            self._ready.append(replica)
            self._serve()
            self._sample()

    def _end_if_done(self, replica: _Replica) -> None:
        if replica.ongoing == 0:
            self._count()
            self._draining -= 1

    def _count(self) -> None:
        alive = len(self._ready) + len(self._starting) + self._draining
        self._outcome.replica_s += alive * (self._now - self._counted)
        self._counted = self._now

    # ---- the autoscaler

    def _tick(self) -> None:
        """The report that comes anyway."""
        self._report()
        self._at(self._now + next(self._pauses), self._tick)

    def _hurry(self) -> None:
        """The report that comes because a request waits."""
        if not self._report_due:
            self._report_due = True
            self._at(max(self._now, self._last_report + REPORT_GAP_S), self._report)

    def _report(self) -> None:
        self._report_due = False
        self._last_report = self._now
        load = len(self._queue), self._running, self._calls
        if load != self._told:
            queued, running, calls = load
            calls -= self._told[2] if self._told is not None else 0
            self._told = load
            self._scaler.load("router", queued, running, self._now, calls=calls)
            self._look()
        self._sample()

    def _look_if_due(self) -> None:
        if self._now >= self._look_due:
            self._look()

    def _look(self) -> None:
        epoch = self._scenario.epoch
        ready = [replica.id for replica in self._ready]
        context = self._scaler.context(ready, self._now, epoch=epoch)
        self._wish, self._scaler.state = self._policy(context)
        decision = self._scaler.decide(self._wish, self._now)
        if decision is not None:
            self._outcome.decisions.append((self._now, decision))
            self._sample()
            self._scale()
            self._sample()
        due = self._scaler.look_at(self._now)
        self._look_due = float("inf") if due is None else due
        if due is not None:
            self._at(due, self._look_if_due)

    def _sample(self) -> None:
        self._outcome.samples.append(
            Sample(
                self._now,
                len(self._ready),
                len(self._starting),
                self._scaler.target,
                self._wish,
                len(self._queue),
                self._running,
            )
        )
