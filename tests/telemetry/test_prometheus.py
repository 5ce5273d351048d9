"""Pages of numbers, read back by Prometheus' own parser."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from salver.telemetry.prometheus import merge, page
from salver.telemetry.registry import Distribution, Family, Kind, Sample, Tags


def read(text: str) -> dict[tuple[str, Tags], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def counter(name: str, *samples: tuple[Tags, float]) -> Family:
    return Family(name, Kind.COUNTER, "What.", samples=tuple(Sample(*s) for s in samples))


def test_values_of_the_same_tags_add_up_over_processes() -> None:
    a, b = (("app", "a"),), (("app", "b"),)
    text = page([counter("seen", (a, 1.0), (b, 2.0)), counter("seen", (a, 10.0))])
    assert read(text) == {("seen_total", a): 11.0, ("seen_total", b): 2.0}


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count() -> None:
    spread = Sample((), Distribution((2, 1, 1), 4, 56.5))
    family = Family("h", Kind.HISTOGRAM, boundaries=(0.5, 10.0), samples=(spread,))
    assert read(page([family, family])) == {
        ("h_bucket", (("le", "0.5"),)): 4.0,
        ("h_bucket", (("le", "10"),)): 6.0,
        ("h_bucket", (("le", "+Inf"),)): 8.0,
        ("h_sum", ()): 113.0,
        ("h_count", ()): 8.0,
    }


def test_histograms_of_other_boundaries_stay_apart() -> None:
    one = Family(
        "h", Kind.HISTOGRAM, "", (1.0,), (Sample((("a", "1"),), Distribution((1, 0), 1, 1)),)
    )
    two = Family(
        "h", Kind.HISTOGRAM, "", (2.0,), (Sample((("a", "2"),), Distribution((0, 1), 1, 3)),)
    )
    text = page([one, two])
    assert text.count("# TYPE h histogram") == 1
    assert read(text)["h_bucket", (("a", "2"), ("le", "2"))] == 0.0


def test_one_name_for_two_kinds_becomes_two_names() -> None:
    gauge = Family("x", Kind.GAUGE, samples=(Sample((), 1.0),))
    spread = Family("x", Kind.HISTOGRAM, "", (1.0,), (Sample((), Distribution((1, 0), 1, 1.0)),))
    assert [family.name for family in merge([gauge, spread])] == ["x", "x_histogram"]


@given(value=st.text(), number=st.floats(), help_=st.text())
def test_any_tag_value_number_and_description_come_back(
    value: str, number: float, help_: str
) -> None:
    family = Family("g", Kind.GAUGE, help_, samples=(Sample((("key", value),), number),))
    ((_, found),) = read(page([family])).items()
    assert found == number or (math.isnan(found) and math.isnan(number))
    ((name, tags),) = read(page([family]))
    assert (name, tags) == ("g", (("key", value),))
