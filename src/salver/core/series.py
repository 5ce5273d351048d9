"""A figure over time, as a staircase of what was told, and what its last while comes to."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from salver.spec.autoscaling import AggregationFunction

__all__ = ("Series",)


class _Step(NamedTuple):
    at: float
    value: float
    area: float  # under all steps before this one


class Series:
    """Each value holds until the next one is told. Only a last `period_s` is remembered."""

    __slots__ = ("_steps", "period_s")

    def __init__(self, period_s: float) -> None:
        self.period_s = period_s
        self._steps: deque[_Step] = deque()

    @property
    def last(self) -> float:
        """What was told last; 0 before anything was."""
        return self._steps[-1].value if self._steps else 0.0

    @property
    def steady_at(self) -> float:
        """From then on `over` says the same, unless something new is told."""
        return self._steps[-1].at + self.period_s if len(self._steps) > 1 else 0.0

    def tell(self, value: float, now: float) -> None:
        """From now on it is this."""
        area = 0.0
        if self._steps:
            last = self._steps[-1]
            if last.value == value:
                return
            area = last.area + last.value * (now - last.at)
            if last.at == now:
                self._steps.pop()
        self._steps.append(_Step(now, value, area))
        self._forget(now)

    def over(self, how: AggregationFunction, now: float) -> float:
        """The period up to now as one number; of a younger series, its whole life."""
        self._forget(now)
        if not self._steps:
            return 0.0
        if how is AggregationFunction.MEAN:
            return self._mean(now)
        pick = max if how is AggregationFunction.MAX else min
        return pick(step.value for step in self._steps)

    def points(self) -> list[tuple[float, float]]:
        """What is remembered, as (when, value)."""
        return [(step.at, step.value) for step in self._steps]

    def _mean(self, now: float) -> float:
        first, last = self._steps[0], self._steps[-1]
        start = max(first.at, now - self.period_s)
        if now <= start:
            return last.value
        area = last.area + last.value * (now - last.at)
        area -= first.area + first.value * (start - first.at)
        return area / (now - start)

    def _forget(self, now: float) -> None:
        """Drop what ended before the period; what was true at its beginning stays."""
        steps = self._steps
        while len(steps) > 1 and steps[1].at <= now - self.period_s:
            steps.popleft()
        if len(steps) == 1 and steps[0].area:
            steps[0] = steps[0]._replace(area=0.0)  # at rest it is exact again
