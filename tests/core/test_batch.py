"""Which items form a batch, and when it starts: under a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from salver.core.batch import Batches
from salver.spec.batching import BatchOptions


class Item:
    """Waits since a time, in a group, and has a size."""

    def __init__(self, since: float = 0.0, group: str = "", size: float = 1) -> None:
        self.since = since
        self.group = group
        self.size = size


def total(items: list[Item]) -> float:
    return sum(item.size for item in items)


def batches(size_of: Callable[[list[Any]], float] | None = None, **options: Any) -> Batches[Item]:
    return Batches(BatchOptions(**options), size_of)


def push(queue: Batches[Item], *items: Item) -> list[Item]:
    for item in items:
        queue.push(item)
    return list(items)


# ---- when


def test_without_a_wait_a_batch_opens_for_the_first_item() -> None:
    queue = batches()
    (first,) = push(queue, Item())
    assert queue.opens(0.0) is first
    assert queue.due_at() is None


def test_what_comes_before_it_is_taken_joins_it() -> None:
    queue = batches()
    items = push(queue, Item())
    queue.opens(0.0)
    items += push(queue, Item(), Item())
    assert queue.opens(0.0) is None, "they have a batch that opens"
    assert queue.take(0.0) == items


def test_what_comes_while_all_batches_run_forms_the_next_one() -> None:
    queue = batches(max_batch_size=2)
    push(queue, Item())
    queue.opens(0.0)
    queue.take(0.0)
    waiting = push(queue, Item(), Item(), Item())
    assert queue.opens(1.0) is None
    queue.ended()
    assert queue.opens(1.0) is waiting[0]
    assert queue.take(1.0) == waiting[:2]


def test_with_a_wait_it_is_due_when_the_oldest_has_waited() -> None:
    queue = batches(batch_wait_timeout_s=5)
    first, *_ = items = push(queue, Item(since=1.0), Item(since=2.0))
    assert queue.opens(2.0) is None
    assert queue.due_at() == 6.0
    assert queue.opens(6.0) is first
    assert queue.take(6.0) == items


def test_with_a_wait_a_full_one_is_due_at_once() -> None:
    queue = batches(batch_wait_timeout_s=5, max_batch_size=2)
    items = push(queue, Item(), Item(), Item())
    assert queue.opens(0.0) is items[0]
    assert queue.take(0.0) == items[:2]
    queue.ended()
    assert queue.opens(0.0) is None, "one alone waits for more"


def test_a_batch_that_opened_for_callers_that_left_has_ended() -> None:
    queue = batches()
    (item,) = push(queue, Item())
    queue.opens(0.0)
    queue.discard(item)
    assert queue.take(0.0) == []
    assert queue.running == 0


def test_the_group_of_the_longest_waiter_comes_first() -> None:
    queue = batches()
    one, two, three = push(queue, Item(1, "a"), Item(2, "b"), Item(3, "a"))
    queue.opens(3.0)
    assert queue.take(3.0) == [one, three]
    queue.ended()
    queue.opens(3.0)
    assert queue.take(3.0) == [two]


# ---- sizes


def test_what_does_not_fit_keeps_its_place_in_front() -> None:
    queue = batches(total, max_batch_size=10)
    items = push(queue, *(Item(size=size) for size in (4, 5, 3, 1)))
    queue.opens(0.0)
    assert queue.take(0.0) == items[:2], "nothing overtakes the one that does not fit"
    queue.ended()
    queue.opens(0.0)
    assert queue.take(0.0) == items[2:]


def test_an_item_that_fits_no_batch_is_refused_alone() -> None:
    queue = batches(total, max_batch_size=10)
    large, small = push(queue, Item(size=11), Item(size=1))
    queue.opens(0.0)
    assert queue.take(0.0) == [small]
    ((refused, error),) = queue.refused()
    assert refused is large
    assert isinstance(error, RuntimeError)
    assert str(error).startswith("This item has size 11 by batch_size_fn, and a batch holds 10")


def test_an_item_whose_size_cannot_be_told_is_refused_alone() -> None:
    def size(items: list[Item]) -> float:
        return total(items) / all(item.size for item in items)

    queue = batches(size, max_batch_size=10)
    one, bad, two = push(queue, Item(), Item(size=0), Item())
    queue.opens(0.0)
    assert queue.take(0.0) == [one, two]
    ((refused, error),) = queue.refused()
    assert refused is bad
    assert isinstance(error, ZeroDivisionError)
    assert queue.refused() == [], "told once"


def test_a_long_line_is_measured_with_few_questions() -> None:
    asked = []

    def size(items: list[Item]) -> float:
        asked.append(len(items))
        return total(items)

    queue = batches(size, max_batch_size=500)
    push(queue, *(Item() for _ in range(10_000)))
    queue.opens(0.0)
    assert len(queue.take(0.0)) == 500
    assert len(asked) < 60


def test_fewer_wait_for_a_smaller_maximum() -> None:
    queue = batches(total, batch_wait_timeout_s=5, max_batch_size=10)
    items = push(queue, *(Item() for _ in range(6)))
    assert queue.opens(0.0) is None
    queue.options = queue.options.having(max_batch_size=3)
    assert queue.opens(0.0) is items[0]
    assert queue.take(0.0) == items[:3]


# ---- options


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"max_batch_size": "8"}, TypeError, r"^max_batch_size='8' is not valid: expected a whole"),
        ({"max_batch_size": 2.5}, TypeError, "expected a whole number"),
        ({"max_batch_size": True}, TypeError, "expected a whole number"),
        ({"max_batch_size": 0}, ValueError, "expected a whole number of at least 1"),
        ({"batch_wait_timeout_s": "1"}, TypeError, r"^batch_wait_timeout_s='1' is not valid"),
        ({"batch_wait_timeout_s": -1}, ValueError, "a number of seconds, 0 or more, or None"),
        ({"batch_wait_timeout_s": float("nan")}, ValueError, "a number of seconds"),
        ({"max_concurrent_batches": 0}, ValueError, r"^max_concurrent_batches=0 is not valid"),
        ({"batch_size_fn": 3}, TypeError, r"^batch_size_fn=3 is not valid: expected a plain"),
    ],
)
def test_wrong_options_are_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        BatchOptions(**given)


def test_a_whole_float_is_a_whole_number() -> None:
    assert BatchOptions(max_batch_size=8.0).max_batch_size == 8  # type: ignore[arg-type]


# ---- any order of events


class BatchMachine(RuleBasedStateMachine):
    """Whatever happens: batches are fronts of lines, full if they can be, and start in time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue = batches(total, max_batch_size=6, max_concurrent_batches=2)
        self.waiting: list[Item] = []
        self.opening = False

    @property
    def options(self) -> BatchOptions:
        return self.queue.options

    @rule(group=st.sampled_from("ab"), size=st.integers(0, 7))
    def push(self, group: str, size: int) -> None:
        item = Item(self.now, group, size)
        self.queue.push(item)
        self.waiting.append(item)
        self.review()

    @rule(data=st.data())
    @precondition(lambda self: self.waiting)
    def leave(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.waiting))
        assert self.queue.discard(item)
        assert not self.queue.discard(item)
        self.waiting.remove(item)
        self.review()

    @rule()
    @precondition(lambda self: self.opening)
    def take(self) -> None:
        running = self.queue.running
        taken = self.queue.take(self.now)
        self.opening = False
        self.forget_refused()
        if not taken:
            assert self.queue.running == running - 1
        else:
            line = [item for item in self.waiting if item.group == taken[0].group]
            assert taken == line[: len(taken)], "the front of one group"
            assert total(taken) <= self.options.max_batch_size
            rest = line[len(taken) :]
            assert (
                not rest
                or total([*taken, rest[0]]) > self.options.max_batch_size
                or (total(taken) == self.options.max_batch_size)
            ), "as much as fits"
            self.waiting = [item for item in self.waiting if item not in taken]
        self.review()

    @rule()
    @precondition(lambda self: self.queue.running > self.opening)
    def end(self) -> None:
        self.queue.ended()
        self.review()

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.review()

    @rule(wait=st.sampled_from([None, 0, 1.0, 2.0]), size=st.integers(1, 6))
    def change(self, wait: float | None, size: int) -> None:
        self.queue.options = self.options.having(batch_wait_timeout_s=wait, max_batch_size=size)
        self.review()

    def review(self) -> None:
        if self.queue.opens(self.now) is not None:
            self.opening = True
        self.forget_refused()

    def forget_refused(self) -> None:
        for item, _ in self.queue.refused():
            assert item.size > self.options.max_batch_size
            self.waiting.remove(item)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert bool(self.queue) == bool(self.waiting)

    @invariant()
    def no_more_run_than_may(self) -> None:
        assert 0 <= self.queue.running <= self.options.max_concurrent_batches

    @invariant()
    def nothing_waits_in_vain(self) -> None:
        wait = self.options.batch_wait_timeout_s
        if self.opening or self.queue.running == self.options.max_concurrent_batches:
            assert self.queue.due_at() is None
        elif wait is None:
            assert not self.waiting
        elif self.waiting:
            due = self.queue.due_at()
            assert due == min(item.since for item in self.waiting) + wait
            assert due > self.now
            for group in "ab":
                line = [item for item in self.waiting if item.group == group]
                assert total(line) < self.options.max_batch_size, "it is full"


TestBatches = BatchMachine.TestCase
TestBatches.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
