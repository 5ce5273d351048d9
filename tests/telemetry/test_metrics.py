"""Users' own numbers: what they count, by which tags, and what is refused."""

from __future__ import annotations

import pickle
from typing import Any
from uuid import uuid4

import pytest

from salver.telemetry.metrics import Counter, Gauge, Histogram
from salver.telemetry.registry import Distribution, MetricScope, metric_scope, registry


@pytest.fixture
def name() -> str:
    """A name that no other test counts under: the registry is the process's."""
    return f"metric_{uuid4().hex}"


def counted(name: str, scope: MetricScope | None = None) -> dict[Any, Any]:
    families = registry.collect((scope or MetricScope()).tags)
    return {s.tags: s.value for f in families if f.name == name for s in f.samples}


def test_a_counter_adds_up_by_tags(name: str) -> None:
    counter = Counter(name, "Things seen.", tag_keys=("kind",))
    counter.set_default_tags({"kind": "cat"})
    counter.inc()
    counter.inc(2.0, tags={"kind": "dog"})
    counter.inc(0.5)
    assert counted(name) == {(("kind", "cat"),): 1.5, (("kind", "dog"),): 2.0}


def test_a_gauge_is_what_it_was_set_to_last(name: str) -> None:
    gauge = Gauge(name)
    gauge.set(3)
    gauge.set(1)
    assert counted(name) == {(): 1.0}


def test_a_histogram_counts_by_boundaries(name: str) -> None:
    histogram = Histogram(name, boundaries=[1, 10])
    for value in (0.5, 1, 5, 50):
        histogram.observe(value)
    assert counted(name) == {(): Distribution((2, 1, 1), 4, 56.5)}


@pytest.mark.parametrize("kind", [Counter, Gauge, Histogram])
def test_each_kind_has_a_description_and_keys_for_its_tags(kind: Any, name: str) -> None:
    metric = kind(name, description="Things seen.", tag_keys=("kind",))
    verbs = ("inc", "set", "observe")
    write = next(getattr(metric, verb) for verb in verbs if hasattr(metric, verb))
    write(1, tags={"kind": "cat"})
    (family,) = (found for found in registry.collect(()) if found.name == name)
    assert family.description == "Things seen."
    assert [sample.tags for sample in family.samples] == [(("kind", "cat"),)]
    with pytest.raises(ValueError, match="colour"):
        write(1, tags={"colour": "red"})


def test_two_metrics_of_one_name_are_one(name: str) -> None:
    Counter(name).inc()
    Counter(name).inc()
    assert counted(name) == {(): 2.0}
    with pytest.raises(ValueError, match=r"there already, and is a counter"):
        Gauge(name)


def test_the_scope_s_tags_and_route_are_filled_in(name: str) -> None:
    """Also where no other tag is given, which fails in Ray Serve."""
    counter = Counter(name, tag_keys=("route",))
    scope = MetricScope((("deployment", "D"),), lambda: "/here")
    token = metric_scope.set(scope)
    try:
        counter.inc()
        counter.inc(tags={"route": "/own"})
    finally:
        metric_scope.reset(token)
    assert counted(name, scope) == {
        (("deployment", "D"), ("route", "/here")): 1.0,
        (("deployment", "D"), ("route", "/own")): 1.0,
    }
    assert counted(name) == {}


def test_a_metric_can_be_part_of_what_is_sent_to_a_replica(name: str) -> None:
    metric = Histogram(name, boundaries=[1.0], tag_keys=("a",))
    metric.set_default_tags({"a": "x"})
    copy = pickle.loads(pickle.dumps(metric))
    copy.observe(0.5)
    assert counted(name) == {(("a", "x"),): Distribution((1, 0), 1, 0.5)}


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Counter(""), ValueError, r"^A metric needs a name"),
        (lambda: Counter("c", tag_keys=["a"]), TypeError, r"expected a tuple of str"),  # type: ignore[arg-type]
        (lambda: Gauge("c", tag_keys=("replica",)), ValueError, r"Salver's own"),
        (lambda: Histogram("c", boundaries=[2, 1]), ValueError, r"each above the last"),
        (lambda: Histogram("c", boundaries=["a"]), ValueError, r"expected numbers"),  # type: ignore[list-item]
    ],
)
def test_a_wrong_metric_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("tags", "value", "error", "message"),
    [
        ({"a": "1", "b": "2"}, 1, ValueError, r"has no tag 'b'. Declared: \['a'\]"),
        (None, 1, ValueError, r"no value for the tags \['a'\]"),
        ({"a": "1"}, -1, ValueError, r"only grows"),
        ({"a": "1"}, 0, ValueError, r"only grows"),
        ({"a": 1}, 1, TypeError, r"expected a str"),
        ({"a": "1", "deployment": "D"}, 1, ValueError, r"Salver's own"),
    ],
)
def test_a_wrong_value_is_refused(
    name: str, tags: Any, value: float, error: type[Exception], message: str
) -> None:
    counter = Counter(name, tag_keys=("a",))
    with pytest.raises(error, match=message):
        counter.inc(value, tags=tags)
    assert counted(name) == {}
