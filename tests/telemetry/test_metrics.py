"""Users' own numbers."""

from __future__ import annotations

import pickle

import pytest

from salver.telemetry.metrics import Counter, Distribution, Gauge, Histogram


def test_a_counter_adds_up_by_tags() -> None:
    counter = Counter("seen", "Things seen.", tag_keys=("kind",))
    counter.set_default_tags({"kind": "cat"})
    counter.inc()
    counter.inc(2.0, tags={"kind": "dog"})
    counter.inc(0.5)
    assert counter.values() == {(("kind", "cat"),): 1.5, (("kind", "dog"),): 2.0}


def test_a_gauge_is_what_it_was_set_to_last() -> None:
    gauge = Gauge("depth")
    gauge.set(3)
    gauge.set(1)
    assert gauge.values() == {(): 1.0}


def test_a_histogram_counts_by_boundaries() -> None:
    histogram = Histogram("latency", boundaries=[1, 10])
    for value in (0.5, 1, 5, 50):
        histogram.observe(value)
    assert histogram.values() == {(): Distribution((2, 1, 1), 4, 56.5)}


def test_a_metric_can_be_part_of_what_is_sent_to_a_replica() -> None:
    copy = pickle.loads(pickle.dumps(Histogram("h", boundaries=[1.0], tag_keys=("a",))))
    assert (copy.name, copy.boundaries, copy.tag_keys) == ("h", (1.0,), ("a",))


def test_wrong_tags_are_named() -> None:
    with pytest.raises(TypeError, match=r"expected a tuple"):
        Counter("c", tag_keys=["a"])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Salver's own"):
        Counter("c", tag_keys=("replica",))
    counter = Counter("c", tag_keys=("a",))
    with pytest.raises(ValueError, match=r"^Metric c has no tag 'b'"):
        counter.inc(tags={"a": "1", "b": "2"})
    with pytest.raises(ValueError, match=r"no value for the tags \['a'\]"):
        counter.inc()
    with pytest.raises(ValueError, match=r"only grows"):
        counter.inc(-1, tags={"a": "1"})
