"""Models and replicas: calls find their model, hot models spread, nobody waits for nothing."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.affinity import Placement, bound, preference
from tests.core.placement_trace import Play, ideal_hits, zipf


class Seat:
    """A candidate."""

    def __init__(self, inflight: int = 0, window: int = 10, others: int = 0) -> None:
        self.inflight, self.window, self.others = inflight, window, others


def known(**held: str) -> Placement:
    """Replicas with room for two models each; `a="xy"`: a holds x and y."""
    placement = Placement()
    for name, models in held.items():
        placement.learn(name, models, 2)
    return placement


def test_a_call_goes_where_its_model_is() -> None:
    placement = known(a="x", b="y", c="")
    seats = [Seat(2), Seat(2), Seat(0)]
    assert placement.choose("x", "abc", seats) == 0
    assert placement.choose("y", "abc", seats) == 1


def test_of_several_that_hold_the_model_the_less_loaded_gets_the_call() -> None:
    assert known(a="x", b="x", c="").choose("x", "abc", [Seat(2), Seat(1), Seat(0)]) == 1


def test_a_full_replica_is_not_waited_for_while_another_is_free() -> None:
    assert known(a="x", b="yz").choose("x", "ab", [Seat(1, window=1), Seat(0, window=1)]) == 1


def test_a_replica_that_is_busier_than_the_others_is_passed_over() -> None:
    placement = known(a="x", b="", c="", d="")
    seats = [Seat(0, 100), Seat(0, 100), Seat(0, 100), Seat(0, 100)]
    for _ in range(40):
        seats[placement.choose("x", "abcd", seats)].inflight += 1
    loads = sorted(seat.inflight for seat in seats)
    assert loads[-1] <= bound(loads)
    assert sum(load > 0 for load in loads) >= 3


def test_replicas_fill_up_with_models_evenly() -> None:
    placement = known(a="", b="", c="")
    seats = [Seat(), Seat(), Seat()]
    chosen = Counter(placement.choose(model, "abc", seats) for model in "uvwxyz")
    assert chosen == {0: 2, 1: 2, 2: 2}


def test_the_first_calls_of_a_new_model_do_not_scatter() -> None:
    """Not even before the replica has said that it loads it."""
    placement = known(a="mn", b="op", c="qr")
    seats = [Seat(), Seat(), Seat()]
    home = placement.choose("x", "abc", seats)
    seats[home].inflight = 1
    assert {placement.choose("x", "abc", seats) for _ in range(5)} == {home}


def test_every_caller_finds_the_same_replica_for_a_model_that_nobody_holds() -> None:
    homes = [
        [known(a="mn", b="op", c="qr").choose(f"x{i}", "abc", [Seat(), Seat(), Seat()])
         for i in range(50)]
        for _ in range(2)
    ]  # fmt: skip
    assert homes[0] == homes[1]
    assert len(set(homes[0])) == 3


def test_a_replica_that_never_loads_what_it_was_sent_is_not_taken_for_a_holder_for_ever() -> None:
    placement = known(a="", b="")
    placement.choose("x", "ab", [Seat(), Seat()])
    assert placement.holders("x")
    for name in "ab" * 2:
        placement.learn(name, "", 2)
    assert placement.holders("x") == set()


def test_what_a_replica_held_is_forgotten_with_it() -> None:
    placement = known(a="x", b="")
    placement.forget("a")
    assert placement.holders("x") == set()
    placement.forget("a")


def test_preferences_are_spread_evenly() -> None:
    counted = Counter(max("abcde", key=partial(preference, f"m{i}")) for i in range(5000))
    assert min(counted.values()) > 850


def test_a_replica_with_a_free_slot_gets_a_waiting_call_for_a_model_it_holds() -> None:
    placement = known(a="x", b="y")
    assert placement.next_for("a", ["y", "x", "z"]) == 1
    assert placement.next_for("a", ["y", "z"]) == 1
    assert placement.next_for("a", ["y"]) == 0
    assert placement.next_for("a", ["y", ""]) == 1


def test_no_call_is_overtaken_for_ever() -> None:
    placement = known(a="x", b="y")
    chosen = [placement.next_for("a", ["y", "x"]) for _ in range(200)]
    assert 0 in chosen


seats = st.lists(
    st.builds(Seat, st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)), max_size=9
)


@given(seats, st.lists(st.sampled_from("uvwxyz"), max_size=9), st.sampled_from("uvwxyz"))
def test_a_free_replica_is_always_found_and_a_full_one_never_chosen(
    candidates: list[Seat], held: list[str], model: str
) -> None:
    names = [f"r{i}" for i in range(len(candidates))]
    placement = Placement()
    for name, one in zip(names, held, strict=False):
        placement.learn(name, one, 1)
    chosen = placement.choose(model, names, candidates)
    free = [i for i, seat in enumerate(candidates) if seat.inflight < seat.window]
    assert chosen in free if free else chosen == -1


@given(seats.filter(bool))
def test_somebody_is_always_within_the_bound(candidates: list[Seat]) -> None:
    loads = [seat.inflight + seat.others for seat in candidates]
    assert min(loads) < bound(loads)


@pytest.mark.parametrize("skew", [0.8, 1.0, 1.2])
@pytest.mark.parametrize(
    ("replicas", "room", "window", "clients"), [(4, 50, 16, 8), (4, 50, 5, 64), (8, 25, 5, 16)]
)
def test_replicas_share_models_as_if_they_were_one_cache(
    skew: float, replicas: int, room: int, window: int, clients: int
) -> None:
    """1,000 models by Zipf's law, two callers: within 5 % of the hits of one ideal LRU cache."""
    trace = zipf(1000, 6000, seed=7, skew=skew)
    play = Play(replicas, room, window).run(trace, clients)
    assert play.hits >= 0.95 * ideal_hits(trace, replicas * room)


def test_one_hot_model_uses_every_replica() -> None:
    play = Play(4, 10, 4).run(["hot"] * 400, clients=16)
    assert all("hot" in replica.cache for replica in play.replicas)
    assert play.hits >= 395
