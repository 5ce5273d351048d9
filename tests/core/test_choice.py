"""Choosing a replica."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from salver.core import choice


@dataclass
class Replica:
    inflight: int = 0
    window: int = 5
    others: int = 0

    @property
    def load(self) -> int:
        return self.inflight + self.others

    @property
    def room(self) -> bool:
        return self.inflight < self.window


replicas = st.builds(Replica, st.integers(0, 6), st.integers(0, 6), st.integers(0, 9))


@given(st.lists(replicas, max_size=8), st.integers(0, 7))
def test_least_loaded_takes_the_least_loaded_that_has_room(rs: list[Replica], turn: int) -> None:
    i = choice.least_loaded(rs, turn % max(len(rs), 1))
    open_ = [r for r in rs if r.room]
    if not open_:
        assert i == -1
    else:
        assert rs[i].room
        assert rs[i].load == min(r.load for r in open_)


@given(st.integers(1, 8), st.integers(1, 5))
def test_idle_replicas_take_turns_evenly(count: int, rounds: int) -> None:
    rs = [Replica() for _ in range(count)]
    taken = [0] * count
    turn = 0
    for _ in range(rounds * count):
        i = choice.least_loaded(rs, turn)
        taken[i] += 1
        turn = (i + 1) % count
    assert taken == [rounds] * count


@given(st.lists(replicas, min_size=2, max_size=40), st.integers())
def test_of_two_never_takes_a_full_one_nor_the_worse(rs: list[Replica], seed: int) -> None:
    winner, loser = choice.of_two(rs, Random(seed).random)
    if not any(r.room for r in rs):
        assert winner == -1
        return
    assert winner != loser
    assert rs[winner].room
    assert not rs[loser].room or rs[winner].load <= rs[loser].load


@given(st.lists(replicas, min_size=9, max_size=40), st.integers())
def test_of_two_draws_two_different_ones_and_reaches_every_one(
    rs: list[Replica], seed: int
) -> None:
    for r in rs:
        r.inflight, r.others, r.window = 0, 0, 1
    draw = Random(seed).random
    seen = {choice.of_two(rs, draw)[0] for _ in range(len(rs) * 60)}
    assert seen == set(range(len(rs)))


@given(st.lists(replicas, min_size=2, max_size=8))
def test_a_wrong_belief_heals_without_an_answer(rs: list[Replica]) -> None:
    """Every replica with room gets a call at last, whatever others were believed to have there."""
    bound = sum(r.others for r in rs) + sum(r.inflight for r in rs) + 2 * len(rs)
    for r in rs:
        r.window = 1000
    reached: set[int] = set()
    turn = 0
    for _ in range(bound * len(rs) + 1):
        i = choice.least_loaded(rs, turn)
        reached.add(i)
        turn = (i + 1) % len(rs)
        for r in rs:
            if r is not rs[i] and choice.cost_a_call(r, rs[i]):
                r.others -= 1
        rs[i].inflight += 1
        if len(reached) == len(rs):
            return
    raise AssertionError(f"never reached: {set(range(len(rs))) - reached}")


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_a_window_never_exceeds_the_limit_and_an_answer_always_opens_it(
    own: int, under_way: int, limit: int
) -> None:
    own = min(own, limit - 1)
    window = choice.window_after_answer(own, under_way, limit)
    assert own < window <= limit
    assert own < choice.window_after_ready(own, under_way, 0, limit) <= limit
    if under_way == own == 0:
        assert window == limit


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_who_is_told_of_plenty_once_holds_back_nothing(
    own: int, others: int, window: int, limit: int
) -> None:
    own, others, window = min(own, limit - 1), min(others, limit - 1), min(window, limit)
    after = choice.window_after_ready(own, others, window, limit)
    assert after == limit or not choice.has_plenty(others, limit)
    assert after >= max(window, limit - others)


def test_a_belief_is_never_negative() -> None:
    assert choice.belief(3, 5) == 0
    assert choice.belief(5, 3) == 2
