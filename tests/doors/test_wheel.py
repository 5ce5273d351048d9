from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.doors.wheel import TICK, TimerWheel
from tests.doors.door_fakes import FakeClock


class Item:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.deadline = 0.0
        self.bucket = 0
        self.expired: list[float] = []

    def expire(self) -> None:
        self.expired.append(self.clock.now)


def make() -> tuple[FakeClock, TimerWheel, Item]:
    clock = FakeClock()
    return clock, TimerWheel(clock.time, clock.call_at), Item(clock)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_nothing_expires_early_or_much_too_late(delays: list[float]) -> None:
    clock, wheel, _ = make()
    items = [Item(clock) for _ in delays]
    wanted = [clock.now + delay for delay in delays]
    for item, deadline in zip(items, wanted, strict=True):
        item.deadline = deadline
        wheel.watch(item)
    clock.advance(200)
    for item, deadline in zip(items, wanted, strict=True):
        assert len(item.expired) == 1
        assert deadline <= item.expired[0] <= deadline + TICK + 1e-6
    assert clock.armed == 0


def test_a_deadline_that_moved_on_is_kept_without_telling_the_wheel() -> None:
    clock, wheel, item = make()
    item.deadline = clock.now + 1
    wheel.watch(item)
    item.deadline += 10
    clock.advance(10)
    assert item.expired == []
    clock.advance(1.2)
    assert len(item.expired) == 1


def test_a_deadline_can_be_brought_forward_and_taken_away() -> None:
    clock, wheel, item = make()
    item.deadline = clock.now + 90
    wheel.watch(item)
    item.deadline = clock.now + 1
    wheel.watch(item)
    clock.advance(1.2)
    assert len(item.expired) == 1
    item.deadline = clock.now + 1
    wheel.watch(item)
    item.deadline = 0.0
    clock.advance(100)
    assert len(item.expired) == 1


def test_after_its_end_a_wheel_takes_nothing_and_minds_nothing() -> None:
    clock, wheel, item = make()
    item.deadline = clock.now + 5
    wheel.watch(item)
    wheel.close()
    item.deadline = clock.now + 1
    wheel.watch(item)
    wheel.forget(item)
    clock.advance(10)
    assert item.expired == []
    assert clock.armed == 0


def test_what_is_forgotten_leaves_nothing_behind() -> None:
    clock, wheel, item = make()
    item.deadline = clock.now + 1
    wheel.watch(item)
    wheel.forget(item)
    clock.advance(5)
    assert item.expired == []
    assert clock.armed == 0


def test_an_item_that_fails_to_expire_stops_none_of_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Item):
        def expire(self) -> None:
            raise RuntimeError("broken")

    clock, wheel, _ = make()
    items = [*(Broken(clock) for _ in range(3)), *(Item(clock) for _ in range(8))]
    for item in items:
        item.deadline = clock.now + 1
        wheel.watch(item)
    later = Item(clock)
    later.deadline = clock.now + 5
    wheel.watch(later)
    clock.advance(10)
    assert [len(item.expired) for item in items[3:]] == [1] * 8
    assert len(later.expired) == 1
    assert caplog.text.count("RuntimeError: broken") == 3
    assert clock.armed == 0
