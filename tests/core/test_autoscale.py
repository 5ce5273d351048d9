"""How many replicas: bounds always hold, constant load settles, nothing flaps; a virtual clock."""

from __future__ import annotations

import dataclasses
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.core.autoscale import Autoscaler, adjusted, default_autoscaling_policy, granted
from salver.spec.autoscaling import AggregationFunction, AutoscalingConfig
from salver.spec.ids import DeploymentId, ReplicaId

ID = DeploymentId("Model", "app")


def config(**options: Any) -> AutoscalingConfig:
    quick = {"max_replicas": 100, "upscale_delay_s": 0, "downscale_delay_s": 0}
    return AutoscalingConfig(**{**quick, "look_back_period_s": 1.0, **options})


@dataclasses.dataclass
class World:
    """One deployment, its load, and time."""

    scaler: Autoscaler
    now: float = 0.0
    history: list[int] = dataclasses.field(default_factory=list)

    def load(self, running: float, queued: float = 0.0, source: str = "door") -> None:
        self.scaler.load(source, queued, running, self.now)
        self.look()

    def look(self) -> None:
        """Ask the default policy, as the controller does."""
        running = [ReplicaId(str(i), ID) for i in range(self.scaler.target)]
        wish, _ = default_autoscaling_policy(self.scaler.context(running, self.now))
        self.scaler.decide(wish, self.now)
        self.history.append(self.scaler.target)

    def pass_time(self, seconds: float) -> None:
        """Look whenever the scaler wants to be looked at."""
        end = self.now + seconds
        while (at := self.scaler.look_at(self.now)) is not None and at <= end:
            self.now = at
            self.look()
        self.now = end


def world(target: int | None = None, **options: Any) -> World:
    limit = options.pop("max_ongoing", 5)
    others = {name: options.pop(name) for name in ("capacity", "gang_size") if name in options}
    scaler = Autoscaler(ID, config(**options), max_ongoing=limit, target=target, **others)
    return World(scaler)


# ---- the formula


@pytest.mark.parametrize(
    ("wish", "target", "options", "expected"),
    [
        (5.0, 2, {}, 5),
        (5.1, 2, {}, 6),
        (6.000000000000001, 2, {}, 6),
        (5.0, 2, {"upscaling_factor": 0.5}, 4),  # 2 + 0.5 * 3, rounded up
        (5.0, 2, {"upscaling_factor": 2}, 8),
        (2.0, 6, {}, 2),
        (2.0, 6, {"downscaling_factor": 0.5}, 4),
        (5.0, 6, {"downscaling_factor": 0.1}, 5),  # rounding would leave it: by one at least
        (5.5, 6, {"downscaling_factor": 0.1}, 6),
        (2.0, 6, {"downscaling_factor": 3}, 2),  # never below the wish
        (4.3, 0, {"upscaling_factor": 0.1}, 5),  # from none there is no factor
        (5.0, 2, {"upscale_smoothing_factor": 0.5}, 4),
        (5.0, 2, {"smoothing_factor": 0.5}, 4),
        (2.0, 6, {"smoothing_factor": 9, "downscaling_factor": 0.5}, 4),
    ],
)
@pytest.mark.filterwarnings("ignore:.*is an old name:DeprecationWarning")
def test_a_wish_is_granted_by_factors(
    wish: float, target: int, options: dict[str, Any], expected: int
) -> None:
    assert granted(wish, target, config(**options)) == expected


@pytest.mark.parametrize(
    ("replicas", "capacity", "expected"),
    [(10, None, 10), (10, 50, 5), (1, 1, 1), (5, 50, 3), (0, 50, 0), (10, 0, 0), (10, 100, 10)],
)
def test_target_capacity_is_a_share_of_all(
    replicas: int, capacity: float | None, expected: int
) -> None:
    assert adjusted(replicas, capacity) == expected


# ---- what always holds


FACTORS = st.none() | st.floats(0.05, 5)
EVENTS = st.lists(
    st.tuples(st.floats(0, 2), st.sampled_from(["a", "b"]), st.integers(0, 300)), max_size=15
)


@given(
    st.integers(0, 5), st.integers(1, 30), FACTORS, FACTORS,
    st.sampled_from(list(AggregationFunction)), EVENTS,
)  # fmt: skip
def test_bounds_hold_whatever_happens(
    least: int,
    more: int,
    up: float | None,
    down: float | None,
    how: AggregationFunction,
    events: list[tuple[float, str, int]],
) -> None:
    one = world(
        min_replicas=least, max_replicas=least + more, upscaling_factor=up,
        downscaling_factor=down, aggregation_function=how,
    )  # fmt: skip
    for pause, source, calls in events:
        one.pass_time(pause)
        one.load(calls, source=source)
    one.pass_time(3)
    assert all(least <= count <= least + more for count in one.history)


@settings(deadline=None)
@given(
    st.floats(0.1, 200), st.floats(0.5, 10), st.integers(0, 60), FACTORS, FACTORS,
    st.floats(0, 3), st.floats(0, 3),
)  # fmt: skip
def test_constant_load_leads_to_the_fixed_point_and_stays_there(
    load: float,
    each: float,
    start: int,
    up: float | None,
    down: float | None,
    up_delay: float,
    down_delay: float,
) -> None:
    one = world(
        start, min_replicas=0, max_replicas=1000, target_ongoing_requests=each,
        upscaling_factor=up, downscaling_factor=down, upscale_delay_s=up_delay,
        downscale_delay_s=down_delay, max_ongoing=1000,
    )  # fmt: skip
    one.load(load)
    one.pass_time(2000)
    assert one.scaler.target == max(1, ceil(load / each - 1e-9))
    assert one.scaler.look_at(one.now) is None  # at rest nothing is looked at
    one.look()
    assert one.scaler.target == one.history[-2]


@given(st.integers(0, 300), st.integers(1, 20), st.integers(1, 60))
def test_a_fall_leaves_room_for_what_is_under_way(load: int, limit: int, start: int) -> None:
    one = world(start, min_replicas=0, max_ongoing=limit, target_ongoing_requests=1000)
    one.load(load)
    one.pass_time(3)
    assert one.scaler.target * limit >= min(load, start * limit)


# ---- patience


def test_more_must_be_wanted_for_the_whole_delay() -> None:
    one = world(1, upscale_delay_s=12)
    one.load(10)
    one.pass_time(11.9)
    assert one.scaler.target == 1
    one.pass_time(0.2)
    assert one.scaler.target == 5


def test_a_moment_in_which_it_is_not_wanted_starts_the_delay_anew() -> None:
    one = world(1, upscale_delay_s=30, aggregation_function="max")
    one.load(10)
    one.pass_time(20)
    one.load(1)
    one.pass_time(5)
    one.load(10)
    one.pass_time(20)
    assert one.scaler.target == 1
    one.pass_time(11)
    assert one.scaler.target == 5


def test_fewer_must_be_wanted_for_their_own_delay() -> None:
    one = world(5, downscale_delay_s=45)
    one.load(2)
    one.pass_time(44)
    assert one.scaler.target == 5
    one.pass_time(2)
    assert one.scaler.target == 1


def test_to_zero_it_goes_by_one_and_with_a_patience_of_its_own() -> None:
    one = world(4, min_replicas=0, downscale_delay_s=10, downscale_to_zero_delay_s=100)
    one.load(0)
    one.pass_time(10.5)
    assert one.scaler.target == 1
    one.pass_time(99)
    assert one.scaler.target == 1
    one.pass_time(2)
    assert one.scaler.target == 0


def test_from_zero_the_first_comes_at_once_and_the_others_in_time() -> None:
    one = world(0, min_replicas=0, upscale_delay_s=30, look_back_period_s=30)
    one.load(0)
    one.pass_time(1000)
    assert one.scaler.target == 0
    one.load(0, queued=1)
    assert one.scaler.target == 1
    one.load(5, queued=95)
    one.pass_time(29)
    assert one.scaler.target == 1
    one.pass_time(2)
    assert one.scaler.target > 20


def test_while_a_request_runs_it_does_not_go_to_zero() -> None:
    one = world(1, min_replicas=0, aggregation_function="min")
    one.load(0)
    one.load(1)
    one.pass_time(0.5)
    assert one.scaler.target == 1
    one.load(0)
    one.pass_time(0.5)
    assert one.scaler.target == 0


def test_requests_too_short_to_be_seen_keep_the_last_replica() -> None:
    one = world(1, min_replicas=0, look_back_period_s=10)
    for _ in range(10):
        one.scaler.load("door", 0, 0, one.now, calls=1)
        one.look()
        one.pass_time(9)
    assert one.scaler.target == 1
    one.pass_time(2)
    assert one.scaler.target == 0


def test_without_delay_a_step_is_followed_within_a_look_back() -> None:
    one = world(1, look_back_period_s=0.05)
    one.load(0)
    one.pass_time(10)
    one.load(40)
    one.pass_time(0.06)
    assert one.scaler.target == 20


def test_with_max_a_step_is_followed_at_once() -> None:
    one = world(1, look_back_period_s=30, aggregation_function="max")
    one.load(0)
    one.pass_time(10)
    one.load(40)
    assert one.scaler.target == 20


# ---- sources, options


def test_the_load_is_the_sum_of_all_who_report_and_are_there() -> None:
    one = world(1, aggregation_function="max")
    one.load(4, source="a")
    one.load(6, source="b")
    assert one.scaler.target == 5
    one.scaler.drop("b", one.now)
    one.pass_time(5)
    assert one.scaler.target == 2


def test_new_bounds_hold_at_once_and_the_load_is_remembered() -> None:
    one = world(1)
    one.load(40)
    one.pass_time(2)
    assert one.scaler.target == 20
    one.scaler.configure(config(max_replicas=8), max_ongoing=5)
    assert one.scaler.target == 8
    one.scaler.configure(config(max_replicas=50), max_ongoing=5)
    one.look()
    assert one.scaler.target == 20


def test_target_capacity_moves_the_bounds() -> None:
    one = world(min_replicas=4, max_replicas=10, capacity=50)
    assert one.scaler.target == 2
    one.load(1000)
    one.pass_time(5)
    assert one.scaler.target == 5


def test_while_the_capacity_rises_there_are_as_many_as_at_the_beginning() -> None:
    options = {"min_replicas": 2, "initial_replicas": 8, "max_replicas": 10}

    def targets(one: World, *capacities: float | None) -> list[int]:
        found = []
        for capacity in capacities:
            one.scaler.configure(config(**options), max_ongoing=5, capacity=capacity)
            one.load(0)
            one.pass_time(2000)
            found.append(one.scaler.target)
        return found

    assert targets(world(**options, capacity=25), 25, 50, 100, None) == [2, 4, 8, 2]
    assert targets(world(**options), None, 50, 25) == [2, 1, 1]  # it falls
    assert targets(world(8, **options, capacity=100), 100) == [2]  # taken over by a new controller


def test_gangs_are_whole_at_every_number() -> None:
    one = world(min_replicas=0, max_replicas=12, gang_size=4, capacity=50)
    assert one.scaler.bounds == (0, 8)  # 6 of them, in whole gangs
    for load in (1, 9, 13, 1000, 15, 9, 1, 0):
        one.load(load)
        one.pass_time(2000)
    assert set(one.history) == {0, 4, 8}
    assert one.history[-1] == 0


def test_a_policy_is_told_everything() -> None:
    one = world(2, min_replicas=1, max_replicas=9)
    first, second = ReplicaId("1", ID), ReplicaId("2", ID)
    one.load(6, queued=2)
    one.scaler.metrics(first, {"tokens": 3}, one.now)
    one.scaler.metrics(second, {"tokens": 5}, one.now)
    told = one.scaler.context([first, second], one.now, epoch=1000)
    assert (told.deployment_id, told.deployment_name) == (ID, "Model")
    assert told.config == one.scaler.config
    assert (told.target_num_replicas, told.policy_state) == (one.scaler.target, {})
    assert told.app_name == "app"
    assert (told.current_num_replicas, told.running_replicas) == (2, (first, second))
    assert (told.total_num_requests, told.total_queued_requests) == (8, 2)
    assert told.total_running_requests == 6
    assert told.aggregated_metrics == {"tokens": {first: 3, second: 5}}
    assert told.raw_metrics["tokens"][second] == [(1000, 5)]
    assert told.raw_metrics["tokens"][second][0].value == 5
    assert told.current_time == 1000
    assert told.last_scale_up_time == 1000
    assert told.last_scale_down_time is None
    assert (told.capacity_adjusted_min_replicas, told.capacity_adjusted_max_replicas) == (1, 9)
    gone = one.scaler.context([second], one.now)
    assert gone.aggregated_metrics == {"tokens": {second: 5}}


def test_a_decision_says_why_in_one_line() -> None:
    one = world(2)
    one.scaler.load("door", 1.3, 10, 0.0)
    decision = one.scaler.decide(5.65, 0.0)
    assert str(decision) == "from 2 to 6: 11.3 requests, target 2 each"
