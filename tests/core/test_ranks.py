"""Ranks: contiguous in the end, and nobody's changes without need."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.ranks import assign


@pytest.mark.parametrize(
    ("held", "size", "expected"),
    [
        ({"a": None, "b": None}, 2, {"a": 0, "b": 1}),
        ({"a": 0, "c": 2, "new": None}, 3, {"a": 0, "c": 2, "new": 1}),
        ({"b": 1, "c": 2}, 3, {"b": 1, "c": 2}),  # the rank of the dead waits for its successor
        ({"b": 1, "c": 2}, 2, {"b": 1, "c": 0}),
        ({"a": 0, "b": 1, "c": 2}, 2, {"a": 0, "b": 1, "c": 2}),  # one of them is about to go
    ],
)
def test_who_can_keeps_its_rank_and_others_get_the_smallest_free_one(
    held: dict[str, int | None], size: int, expected: dict[str, int]
) -> None:
    assert assign(held, size) == expected


@given(st.lists(st.integers(0, 9) | st.none(), max_size=8), st.integers(1, 10))
def test_no_two_have_the_same_and_a_full_deployment_has_no_gap(
    ranks: list[int | None], size: int
) -> None:
    taken = set()
    held: dict[str, int | None] = {}
    for number, rank in enumerate(ranks):
        held[str(number)] = None if rank in taken else rank
        taken.add(rank)
    assigned = assign(held, size)
    assert len(set(assigned.values())) == len(held) == len(assigned)
    if len(held) == size:
        assert sorted(assigned.values()) == list(range(size))
    for name, rank in held.items():
        if rank is not None and rank < size:
            assert assigned[name] == rank
