"""A staircase of figures and what its last while comes to, beside the same done slowly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.series import Series
from salver.spec.autoscaling import AggregationFunction

MEAN, MAX, MIN = AggregationFunction.MEAN, AggregationFunction.MAX, AggregationFunction.MIN
STEPS = st.lists(
    st.tuples(st.floats(0, 20), st.floats(0, 1000)), min_size=1, max_size=30
)  # fmt: skip


@given(STEPS, st.floats(0.1, 30), st.floats(0, 50))
def test_it_comes_to_what_adding_up_by_hand_gives(
    steps: list[tuple[float, float]], period: float, later: float
) -> None:
    series, now = Series(period), 100.0
    told: list[tuple[float, float]] = []
    for pause, value in steps:
        now += pause
        series.tell(value, now)
        told = [step for step in told if step[0] < now]
        told.append((now, value))
    now += later
    start = max(told[0][0], now - period)
    ends = [at for at, _ in told[1:]] + [now]
    parts = [(max(at, start), end, v) for (at, v), end in zip(told, ends, strict=True)]
    inside = [part for part in parts if part[1] > start or part is parts[-1]]
    span = now - start
    area = sum((end - at) * v for at, end, v in inside if end > at)
    mean = area / span if span else told[-1][1]
    assert series.over(MEAN, now) == pytest.approx(mean, abs=1e-6)
    assert series.over(MAX, now) == max(v for _, _, v in inside)
    assert series.over(MIN, now) == min(v for _, _, v in inside)


def test_a_young_series_is_taken_as_long_as_it_lives() -> None:
    series = Series(30)
    series.tell(0, 0)
    series.tell(10, 5)
    assert series.over(MEAN, 10) == 5


def test_once_steady_it_stays_the_same() -> None:
    series = Series(10)
    series.tell(5, 0)
    assert series.steady_at == 0
    series.tell(7, 100)
    assert series.over(MEAN, series.steady_at) == series.over(MEAN, 1e6) == 7


def test_only_the_last_period_is_remembered() -> None:
    series = Series(10)
    for second in range(1000):
        series.tell(second, second)
    assert len(series.points()) <= 12
