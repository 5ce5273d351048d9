"""The queue in front of a deployment."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from salver.core.admission import Queue


class QueueMachine(RuleBasedStateMachine):
    """Against a plain sorted list: the lowest ticket is always the longest waiter."""

    out = Bundle("out")

    def __init__(self) -> None:
        super().__init__()
        self.queue: Queue[str] = Queue()
        self.model: list[int] = []
        self.next = 0

    @rule()
    def push(self) -> None:
        self.queue.push(self.next, f"call {self.next}")
        self.model.append(self.next)
        self.next += 1

    @rule(target=out)
    def pop(self) -> int:
        item = self.queue.pop()
        if not self.model:
            assert item is None
            return -1
        ticket = self.model.pop(0)
        assert item == f"call {ticket}"
        return ticket

    @rule(ticket=consumes(out))
    def put_back(self, ticket: int) -> None:
        if ticket >= 0:
            self.queue.put_back(ticket, f"call {ticket}")
            self.model = sorted([*self.model, ticket])

    @rule(data=st.data())
    def discard(self, data: st.DataObject) -> None:
        ticket = data.draw(st.integers(0, self.next))
        assert self.queue.discard(ticket) == (ticket in self.model)
        if ticket in self.model:
            self.model.remove(ticket)

    @rule()
    def drain(self) -> None:
        assert self.queue.drain() == [f"call {t}" for t in self.model]
        self.model.clear()

    @invariant()
    def same(self) -> None:
        assert len(self.queue) == len(self.model)
        assert list(self.queue) == [f"call {t}" for t in self.model]


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_bound_counts_waiters_but_not_those_about_to_leave() -> None:
    queue: Queue[int] = Queue(2)
    assert queue.admits()
    queue.push(1, 1)
    queue.push(2, 2)
    assert not queue.admits()
    assert queue.admits(spare=1)
    assert Queue[int](-1).admits()
    assert not Queue[int](0).admits()


def test_many_cancelled_waiters_cost_nothing_later() -> None:
    queue: Queue[int] = Queue()
    for ticket in range(1, 100_001):
        queue.push(ticket, ticket)
    for ticket in range(1, 100_000):
        queue.discard(ticket)
    assert queue.pop() == 100_000
    assert queue.pop() is None


def test_waiters_that_came_back_and_were_taken_out_leave_nothing() -> None:
    queue: Queue[int] = Queue()
    for ticket in range(10_000):
        queue.put_back(ticket, ticket)
        queue.put_back(ticket + 20_000, ticket)
        assert queue.discard(ticket)
        if ticket % 10:
            assert queue.discard(ticket + 20_000)
    assert len(queue._order) < 3 * len(queue)
    assert [queue.pop() for _ in range(3)] == [0, 10, 20]
