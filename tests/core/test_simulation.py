"""The simulation: requests are kept account of, queues behave as theory says they do."""

from __future__ import annotations

from itertools import count, takewhile
from math import factorial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.simulation import Outcome, Scenario, simulate
from salver.spec.autoscaling import AutoscalingConfig


def scenario(**given: Any) -> Scenario:
    own = {name: given.pop(name) for name in list(given) if name in Scenario.__struct_fields__}
    config = AutoscalingConfig(**{"upscale_delay_s": 0, "look_back_period_s": 1, **given})
    return Scenario(config=config, **own)


def evenly(rate: float, until: float) -> list[float]:
    return list(takewhile(lambda at: at < until, (n / rate for n in count(1))))


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 3), max_size=60),
    st.integers(0, 2),
    st.integers(0, 3),
    st.integers(1, 4),
    st.integers(-1, 5),
    st.none() | st.integers(1, 2),
    st.floats(0, 2),
)
def test_every_request_is_served_refused_or_unfinished(
    pauses: list[float], least: int, more: int, limit: int, bound: int, at_once: int | None,
    startup: float,
) -> None:  # fmt: skip
    came = [sum(pauses[: n + 1]) for n in range(len(pauses))]
    one = scenario(
        min_replicas=least, max_replicas=least + more + 1, max_ongoing=limit, max_queued=bound,
        at_once=at_once, startup_s=startup, downscale_delay_s=1, duration_s=60,
    )  # fmt: skip
    outcome = simulate(one, came, lambda: 0.5)
    within = [at for at in came if at <= 60]
    served = [finished.came for finished in outcome.finished]
    assert sorted([*served, *outcome.refused, *outcome.unfinished]) == within
    assert all(f.took > 0.499 for f in outcome.finished)
    assert all(least <= s.target <= least + more + 1 for s in outcome.samples)
    if bound >= 0:
        assert all(s.queued <= bound for s in outcome.samples)
    else:
        assert not outcome.refused


def test_with_room_for_all_nobody_waits() -> None:
    outcome = simulate(scenario(duration_s=100), evenly(10, 100), lambda: 0.2)
    assert {round(f.took, 6) for f in outcome.finished} == {0.2}
    assert {f.waited for f in outcome.finished} == {0}
    assert outcome.replica_s == pytest.approx(100)


def test_fixed_replicas_are_the_queue_of_the_textbook() -> None:
    """Poisson arrivals, exponential service, three servers: the mean wait is Erlang's."""
    chance, servers, rate, mean = Random(7), 3, 2.4, 1.0
    came, now = [], 0.0
    while now < 10_000:
        now += chance.expovariate(rate)
        came.append(now)
    one = scenario(
        min_replicas=3, max_replicas=3, max_ongoing=1, look_back_period_s=600, duration_s=10_000
    )
    outcome = simulate(one, came, lambda: chance.expovariate(1 / mean))
    load = rate * mean
    waits = load**servers / factorial(servers) * servers / (servers - load)
    probability = waits / (sum(load**k / factorial(k) for k in range(servers)) + waits)
    expected = probability * mean / (servers - load)
    measured = sum(f.waited for f in outcome.finished) / len(outcome.finished)
    assert measured == pytest.approx(expected, rel=0.1)


def test_a_replica_that_works_on_one_at_a_time_keeps_the_others_waiting() -> None:
    one = scenario(max_ongoing=5, at_once=1, duration_s=10)
    outcome = simulate(one, [1.0] * 5, lambda: 1.0)
    assert [round(f.took) for f in outcome.finished] == [1, 2, 3, 4, 5]
    assert all(f.waited == 0 for f in outcome.finished)  # not in line: in the replica


def test_more_load_brings_replicas_after_their_start_and_less_takes_them() -> None:
    one = scenario(max_replicas=10, startup_s=3, downscale_delay_s=5, duration_s=60)
    outcome = simulate(one, [*evenly(1, 20), *(20 + at for at in evenly(50, 20))], lambda: 0.2)
    first = outcome.decisions[0]
    assert 20 < first[0] < 22
    assert first[1].before == 1
    risen = next(s.at for s in outcome.samples if s.replicas > 1)
    assert risen == pytest.approx(first[0] + 3)
    assert max(s.target for s in outcome.samples) == 10
    assert outcome.samples[-1].replicas == 1
    assert not outcome.unfinished


def test_from_none_the_first_request_waits_for_a_start() -> None:
    one = scenario(min_replicas=0, startup_s=4, downscale_delay_s=2, duration_s=60)
    outcome = simulate(one, [10.0], lambda: 1.0)
    assert outcome.finished[0].took == pytest.approx(5, abs=0.05)
    assert outcome.samples[-1].replicas == 0
    assert outcome.replica_s < 10


def test_a_policy_of_one_s_own_decides_and_is_told_the_time() -> None:
    def by_the_clock(ctx: Any) -> tuple[float, dict[str, Any]]:
        return (4 if ctx.current_time >= 1030 else 2), {}

    one = scenario(max_replicas=9, duration_s=60, epoch=1000.0)
    outcome = simulate(one, [], lambda: 1.0, by_the_clock)
    assert [(round(at), d.after) for at, d in outcome.decisions] == [(0, 2), (30, 4)]


def test_the_same_input_comes_to_the_same() -> None:
    def once() -> Outcome:
        chance = Random(3)
        came = sorted(chance.uniform(0, 50) for _ in range(500))
        one = scenario(max_replicas=5, duration_s=60)
        return simulate(one, came, lambda: chance.expovariate(3))

    assert once() == once()
