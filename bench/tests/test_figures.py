"""Medians, percentiles, targets and the report: numbers in, sentences out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cases import CASES, TARGETS
from bench.contenders import CONTENDERS
from bench.harness import report
from bench.harness.runner import Outcome
from bench.harness.stats import choose, ideal_closed_queue_ms, median_of, percentile
from bench.harness.targets import Figure, Found, at_least, at_most


def results_with(*rows: tuple[str, str, str, str, float, str]) -> dict[str, Any]:
    results: dict[str, Any] = {"machine": {}, "runs": {}, "cases": {}}
    for case, entry, load, name, value, run in rows:
        record = Outcome({load: [{name: value}]}).record(entry, {}, run)
        report.merge(results, case, entry, record)
    return results


def test_each_figure_has_its_own_median() -> None:
    runs = [
        {"rate": 1.0, "p50_ms": 9.0},
        {"rate": 3.0, "p50_ms": 7.0},
        {"rate": 2.0, "p50_ms": 8.0},
    ]

    assert median_of(runs) == {"rate": 2.0, "p50_ms": 8.0, "rate_min": 1.0, "rate_max": 3.0}


def test_the_calmest_run_is_kept() -> None:
    tries = [{"foreign_cores": 0.4}, {"foreign_cores": 0.2}, {"foreign_cores": 0.3}]

    assert choose(tries, 1) == [{"foreign_cores": 0.2}]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_reached_by_its_share_and_by_no_smaller_value(
    values: list[float], share: float
) -> None:
    values.sort()

    found = percentile(values, share)

    assert sum(v <= found for v in values) >= share * len(values) - 1e-6
    assert sum(v < found for v in values) < share * len(values) + 1e-6


def test_the_ideal_queue_serves_every_client_in_turn() -> None:
    assert ideal_closed_queue_ms(clients=32, servers=2, service_ms=10) == 160


@pytest.mark.parametrize(("mine", "met"), [(80.0, True), (79.0, False)])
def test_a_ratio_is_met_at_its_bound(mine: float, met: bool) -> None:
    results = results_with(
        ("hello", "salver", "c32", "rate", mine, "a"), ("hello", "ray", "c32", "rate", 1.0, "a")
    )
    target = at_least(
        80.0, Figure("hello", "salver", "c32", "rate"), Figure("hello", "ray", "c32", "rate")
    )

    assert target.judge(results).met is met


def test_a_ratio_is_that_of_the_rounds() -> None:
    rates = {"salver": [10.0, 40.0, 90.0], "ray": [1.0, 2.0, 30.0]}
    results = results_with()
    for entry, values in rates.items():
        outcome = Outcome({"c32": [{"rate": value} for value in values]})
        report.merge(results, "hello", entry, outcome.record(entry, {}, "a"))
    target = at_least(
        10.0, Figure("hello", "salver", "c32", "rate"), Figure("hello", "ray", "c32", "rate")
    )

    verdict = target.judge(results)

    assert verdict.measured == "10.00 x (40/s : 2/s)"
    assert verdict.met is True


def test_a_ratio_of_two_runs_says_so() -> None:
    results = results_with(
        ("start", "salver", "start", "start_s", 0.4, "a"),
        ("start", "ray", "start", "start_s", 6.0, "b"),
    )
    target = at_most(
        0.1,
        Figure("start", "salver", "start", "start_s"),
        Figure("start", "ray", "start", "start_s"),
    )

    verdict = target.judge(results)

    assert target.text == "command to first 200 ≤ 1/10 of ray"
    assert verdict.measured == "1/15.0 (0.400 s : 6.000 s) (two different runs)"
    assert verdict.met is True


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {target.judge(results_with()).met for target in TARGETS} == {None}


def test_a_target_of_another_entry_than_the_plain_one_says_which() -> None:
    buffer = Figure("upload", "salver-buffer", "c4", "rate")
    target = at_least(4.0, buffer, Figure("upload", "uvicorn", "c4", "rate"))

    assert target.text == "salver-buffer: rate ≥ 4 x uvicorn"


def test_every_target_names_a_load_that_some_case_measures() -> None:
    for target in TARGETS:
        for figure in filter(None, (target.figure, target.other)):
            case = CASES[figure.case]
            loads = {entry.name: entry.loads or case.loads for entry in case.entries}
            assert figure.load in {load.key for load in loads[figure.entry]}


def test_every_entry_is_a_contender_that_serves_its_app() -> None:
    for case in CASES.values():
        for entry in case.entries:
            assert entry.app in CONTENDERS[entry.contender].requests


def test_a_partial_run_replaces_only_its_own_part(tmp_path: Path) -> None:
    first = results_with(
        ("hello", "salver", "c32", "rate", 1.0, "a"), ("hello", "ray", "c32", "rate", 1.0, "a")
    )
    report.save(first, tmp_path / "r.json", tmp_path / "r.md")

    again = report.load_results(tmp_path / "r.json")
    report.merge(again, "hello", "salver", Outcome({"c32": [{"rate": 5.0}]}).record("S", {}, "b"))
    report.save(again, tmp_path / "r.json", tmp_path / "r.md")

    found = report.load_results(tmp_path / "r.json")
    assert Figure("hello", "salver", "c32", "rate").find(found) == Found(5.0, [5.0], "b")
    assert Figure("hello", "ray", "c32", "rate").find(found) == Found(1.0, [1.0], "a")
    assert "two different runs" in (tmp_path / "r.md").read_text()


def test_a_contender_that_failed_is_named_in_the_report() -> None:
    results = results_with()
    failed = Outcome(error="ended with 1 at start\nTraceback").record("Ray", {}, "a")
    report.merge(results, "hello", "ray", failed)

    assert "- ray failed: ended with 1 at start" in report.page(results)
