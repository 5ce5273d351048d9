"""Which model leaves for another, and which never does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from salver.core.cache import MISSING, Cache


def filled(limit: int, *models: str, evict_first: bool = False) -> Cache[str]:
    cache: Cache[str] = Cache(limit, evict_first=evict_first)
    for model in models:
        assert cache.begin(model) == []
        assert cache.loaded(model, model.upper()) == []
    return cache


def test_the_least_recently_asked_for_leaves() -> None:
    cache = filled(3, "a", "b", "c")
    assert cache.get("a") == "A"
    assert cache.begin("d") == []
    assert cache.loaded("d", "D") == ["B"]
    assert cache.models == ("c", "a", "d")


def test_a_failed_load_costs_no_model() -> None:
    cache = filled(2, "a", "b")
    cache.begin("c")
    assert list(cache.models) == ["a", "b", "c"]
    cache.failed("c")
    assert list(cache.models) == ["a", "b"]
    assert cache.get("c") is MISSING


def test_where_there_is_no_room_for_one_more_it_leaves_before_the_load() -> None:
    cache = filled(2, "a", "b", evict_first=True)
    assert cache.begin("c") == ["A"]
    assert cache.begin("d") == ["B"]
    assert cache.begin("e") is None
    cache.loaded("c", "C")
    assert cache.begin("e") == ["C"]


def test_what_is_held_stays_and_the_load_waits() -> None:
    cache = filled(2, "a", "b")
    cache.get("a", 1)
    cache.get("b", 2)
    assert cache.begin("c", {3}) is None
    assert cache.let_go(1) == []
    assert cache.begin("c", {3}) == []
    assert cache.loaded("c", "C", {3}) == ["A"]


def test_a_holder_that_wants_more_than_fits_gives_up_what_it_holds_alone() -> None:
    """It is ended when that holder lets go, not while it may still be in use."""
    cache = filled(1, "a")
    cache.get("a", 1)
    assert cache.begin("b", {1}) == []
    assert cache.loaded("b", "B", {1}) == []
    assert cache.models == ("b",)
    assert cache.let_go(1) == ["A"]


def test_two_that_share_a_model_and_both_want_another_do_not_wait_for_each_other() -> None:
    cache = filled(1, "a")
    cache.get("a", 1)
    cache.get("a", 2)
    assert cache.begin("b", {1}) is None
    assert cache.begin("b", {1, 2}) == []


def test_a_model_that_was_given_up_and_loaded_again_leaves_while_the_old_one_is_in_use() -> None:
    cache = filled(2, "a", "b")
    cache.get("a", 1)
    cache.get("b", 1)
    cache.begin("c", {1})
    cache.failed("c")
    assert cache.models == ("b",)
    cache.begin("a", {2})
    assert cache.loaded("a", "A again") == []
    cache.begin("d", {2})
    assert cache.loaded("d", "D", {2}) == ["A again"]
    assert cache.let_go(1) == ["A"]


def test_a_model_that_nobody_waits_for_any_more_does_not_leave_for_itself() -> None:
    cache = filled(1, "a")
    cache.begin("b")
    assert cache.loaded("b", "B") == ["A"]
    assert cache.models == ("b",)


def test_without_a_bound_nothing_leaves() -> None:
    cache = filled(-1, *"abcdefgh")
    assert cache.models == tuple("abcdefgh")


def test_all_that_is_left_is_handed_out_once() -> None:
    cache = filled(2, "a", "b")
    cache.get("a", 1)
    assert sorted(cache.clear()) == ["A", "B"]
    assert cache.clear() == []


class Life(RuleBasedStateMachine):
    """Any order of asking, loading, failing and letting go."""

    @rule(limit=st.integers(1, 4), evict_first=st.booleans())
    @precondition(lambda self: not hasattr(self, "cache"))
    def make(self, limit: int, evict_first: bool) -> None:
        self.cache: Cache[str] = Cache(limit, evict_first=evict_first)
        self.loading: dict[str, int] = {}
        self.holds: dict[int, set[str]] = {}  # values: a model given up may be loaded once more
        self.alive: set[str] = set()
        self.loads = 0

    @precondition(lambda self: hasattr(self, "cache"))
    @rule(model=st.sampled_from("abcdefg"), holder=st.integers(0, 5))
    def ask(self, model: str, holder: int) -> None:
        if model in self.loading:
            return
        value = self.cache.get(model, holder)
        if isinstance(value, str):
            self.holds.setdefault(holder, set()).add(value)
            return
        left = self.cache.begin(model, {holder})
        if left is not None:
            self.loading[model] = holder
            self.end(left)

    @precondition(lambda self: bool(getattr(self, "loading", None)))
    @rule(good=st.booleans(), data=st.data())
    def finish(self, good: bool, data: Any) -> None:
        model = data.draw(st.sampled_from(sorted(self.loading)))
        holder = self.loading.pop(model)
        if not good:
            self.cache.failed(model)
            return
        assert model not in self.cache
        self.loads += 1
        value = f"{model}{self.loads}"
        self.alive.add(value)
        self.holds.setdefault(holder, set()).add(value)
        self.end(self.cache.loaded(model, value, {holder}))

    @precondition(lambda self: bool(getattr(self, "holds", None)))
    @rule(data=st.data())
    def let_go(self, data: Any) -> None:
        holder = data.draw(st.sampled_from(sorted(self.holds)))
        del self.holds[holder]
        self.end(self.cache.let_go(holder))

    def end(self, left: list[str]) -> None:
        for value in left:
            assert not any(value in held for held in self.holds.values()), "ended while in use"
            self.alive.remove(value)  # once only

    @invariant()
    def there_are_not_too_many(self) -> None:
        if not hasattr(self, "cache"):
            return
        cache = self.cache
        held = {value[0] for values in self.holds.values() for value in values} & set(cache.models)
        assert len(cache) <= max(cache.limit, len(held) + 1) + (not cache.evict_first)
        if not self.holds:
            assert len(cache) == len(self.alive) <= cache.limit

    @invariant()
    def nobody_waits_when_nothing_is_held_or_loading(self) -> None:
        if hasattr(self, "cache") and not self.holds and not self.loading:
            left = self.cache.begin("probe")
            assert left is not None
            self.cache.failed("probe")
            self.end(left)


TestLife = pytest.mark.timeout(60)(Life.TestCase)


@given(st.lists(st.sampled_from("abcdefgh"), max_size=60), st.integers(1, 5))
def test_it_is_an_lru(asked: list[str], limit: int) -> None:
    """Against the plainest there is: a list."""
    cache: Cache[str] = Cache(limit)
    plain: list[str] = []
    for model in asked:
        if cache.get(model) is MISSING:
            cache.begin(model)
            cache.loaded(model, model)
        if model in plain:
            plain.remove(model)
        plain = [*plain, model][-limit:]
        assert list(cache.models) == plain
