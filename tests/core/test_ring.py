"""Keys keep their replicas when others come and go."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from salver.core.ring import Ring

names = st.sets(st.text("abcdefgh", min_size=1, max_size=3), min_size=1, max_size=8)


@given(names, st.text(max_size=5), st.integers(1, 10))
def test_a_key_has_as_many_replicas_as_are_asked_for_each_once(
    replicas: set[str], key: str, count: int
) -> None:
    found = Ring(replicas, 5).first(key, count)
    assert len(found) == len(set(found)) == min(count, len(replicas))
    assert set(found) <= replicas


@given(names, st.text(max_size=5), st.data())
def test_a_key_moves_only_when_its_replica_goes(
    replicas: set[str], key: str, data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(replicas)))
    before = Ring(replicas, 5).first(key, len(replicas))
    after = Ring(replicas - {gone}, 5).first(key, len(replicas))
    assert after == [name for name in before if name != gone]


def test_keys_are_spread() -> None:
    counted = Counter(Ring("abcd", 100).first(f"k{i}", 1)[0] for i in range(2000))
    assert min(counted.values()) > 300


def test_without_replicas_there_is_none() -> None:
    assert Ring((), 5).first("k", 2) == []
