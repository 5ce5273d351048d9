"""What a simulation has come to: a table over time, and the sums."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec

from salver.core.simulation import Finished, Outcome, Sample, Scenario

__all__ = ("Slice", "quantile", "slices", "table")

HEAD = ("time", "requests/s", "replicas", "wanted", "queue", "p50", "p99", "refused")


class Slice(msgspec.Struct, frozen=True):
    """One stretch of time. Waiting times are those of the requests that came in it."""

    begin: float
    end: float
    came: int
    took: list[float]  # in order
    refused: int
    replicas: tuple[int, int]  # the fewest and the most
    wanted: int
    queue: int  # the longest


def slices(outcome: Outcome, duration_s: float, count: int) -> Iterator[Slice]:
    """The whole time in so many stretches of the same length."""
    finished, samples = sorted(outcome.finished), outcome.samples
    moments = [sample.at for sample in samples]
    for number in range(count):
        begin, end = number * duration_s / count, (number + 1) * duration_s / count
        took = [f.took for f in _between(finished, begin, end)]
        refused = _count(outcome.refused, begin, end)
        first, last = bisect_left(moments, begin), bisect_left(moments, end)
        seen: Sequence[Sample] = samples[max(0, first - 1) : max(last, 1)]
        yield Slice(
            begin,
            end,
            len(took) + refused + _count(outcome.unfinished, begin, end),
            sorted(took),
            refused,
            (min(s.replicas for s in seen), max(s.replicas for s in seen)),
            seen[-1].target,
            max(s.queued for s in seen),
        )


def _between(finished: Sequence[Finished], begin: float, end: float) -> Sequence[Finished]:
    first, last = (bisect_left(finished, at, key=lambda f: f.came) for at in (begin, end))
    return finished[first:last]


def _count(moments: Sequence[float], begin: float, end: float) -> int:
    return bisect_left(moments, end) - bisect_left(moments, begin)


def table(scenario: Scenario, outcome: Outcome, rows: int) -> str:
    """Lines for a terminal."""
    cells = [HEAD, *(_row(one) for one in slices(outcome, scenario.duration_s, rows))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEAD))]
    lines = ["  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join([*lines, "", *_sums(outcome, scenario)])


def _row(one: Slice) -> tuple[str, ...]:
    fewest, most = one.replicas
    return (
        f"{round(one.begin, 2):g}s",
        f"{one.came / (one.end - one.begin):.3g}",
        str(most) if fewest == most else f"{fewest}-{most}",
        str(one.wanted),
        str(one.queue),
        _time(quantile(one.took, 0.5)),
        _time(quantile(one.took, 0.99)),
        str(one.refused),
    )


def _sums(outcome: Outcome, scenario: Scenario) -> Iterator[str]:
    took = sorted(f.took for f in outcome.finished)
    waited = sum(1 for f in outcome.finished if f.waited > 0)
    most = max(sample.replicas for sample in outcome.samples)
    ups = sum(1 for _, d in outcome.decisions if d.after > d.before)
    yield (
        f"{len(took)} requests served, {waited} of them waited, {len(outcome.refused)} refused, "
        f"{len(outcome.unfinished)} unfinished."
    )
    yield "Time of a request: " + ", ".join(
        f"{name} {_time(quantile(took, q))}"
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("longest", 1.0))
    ) + "."  # fmt: skip
    yield (
        f"{outcome.replica_s / scenario.duration_s:.2f} replicas on average, {most} at most; "
        f"scaled up {ups} times and down {len(outcome.decisions) - ups} times."
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Of values in order; None of none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.3g} s"
