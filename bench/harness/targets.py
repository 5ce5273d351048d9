"""Targets as data, and whether the results meet them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from typing import Any

DISTURBED_CORES = 0.3
UNITS = {
    "rate": ("{:,.0f}/s", "rate"),
    "cpu_us": ("{:,.1f} us", "CPU per request"),
    "p50_ms": ("{:,.3f} ms", "p50"),
    "p99_ms": ("{:,.1f} ms", "p99"),
    "first_p50_ms": ("{:,.3f} ms", "first byte, p50"),
    "hits_of_ideal": ("{:.1%}", "models found loaded, of those that one ideal cache would have"),
    "start_s": ("{:,.3f} s", "command to first 200"),
    "pss_mib": ("{:,.1f} MiB", "PSS of the tree"),
    "ready_ms": ("{:,.1f} ms", "time to ready"),
    "copies": ("{:,.2f} x memcpy", "a tensor of 10 MB, each way"),
    "capacity_ms": ("{:,.0f} ms", "load step to capacity"),
    "added_mib": ("{:,.1f} MiB", "PSS added"),
}


@dataclass(frozen=True)
class Found:
    """A figure as it was measured: the median, each round, and in which run of the bench."""

    median: float
    rounds: list[float]
    run: str

    def over(self, other: Found) -> float:
        """How many times the other it is.

        The median over the rounds, as both took their turns in each of them: a machine that is
        slow for a minute was so for both. Of two runs of the bench only medians are left.
        """
        if self.run == other.run and len(self.rounds) == len(other.rounds):
            return statistics.median(map(_ratio, self.rounds, other.rounds))
        return _ratio(self.median, other.median)


def _ratio(one: float, other: float) -> float:
    return one / other if other else math.nan


@dataclass(frozen=True)
class Figure:
    """One number of the results: case, entry, load and the figure's name."""

    case: str
    entry: str
    load: str
    name: str

    def find(self, results: dict[str, Any]) -> Found | None:
        """What was measured; None when nothing was."""
        record = results.get("cases", {}).get(self.case, {}).get(self.entry, {})
        load = record.get("loads", {}).get(self.load, {})
        value = load.get("median", {}).get(self.name)
        if value is None:
            return None
        rounds = [run[self.name] for run in load["runs"] if self.name in run]
        return Found(float(value), rounds, str(record.get("run")))

    def shown(self, value: float) -> str:
        """The value with its unit."""
        return UNITS[self.name][0].format(value)


@dataclass(frozen=True)
class Target:
    """A figure, alone or divided by another, and the bound that it must keep."""

    figure: Figure
    bound: float
    lower: bool
    other: Figure | None = None

    @property
    def text(self) -> str:
        """The target in words."""
        sign = "≥" if self.lower else "≤"
        which = "" if self.figure.entry == "salver" else f"{self.figure.entry}: "
        name = which + UNITS[self.figure.name][1]
        if self.other is None:
            return f"{name} {sign} {self.figure.shown(self.bound)}"
        small = self.bound < 0.5
        bound = f"1/{1 / self.bound:g} of" if small else f"{self.bound:g} x"
        return f"{name} {sign} {bound} {self.other.entry}"

    def judge(self, results: dict[str, Any]) -> Verdict:
        """What was measured, and whether it is enough."""
        mine = self.figure.find(results)
        theirs = self.other.find(results) if self.other else None
        if mine is None or (self.other is not None and theirs is None):
            return Verdict("not measured", None)
        value = mine.median
        measured = self.figure.shown(value)
        if self.other is not None and theirs is not None:
            value = mine.over(theirs)
            small = self.bound < 0.5 and value > 0
            ratio = f"1/{1 / value:.1f}" if small else f"{value:.2f} x"
            measured = f"{ratio} ({measured} : {self.other.shown(theirs.median)})"
            if mine.run != theirs.run:
                measured += " (two different runs)"
        met = value >= self.bound if self.lower else value <= self.bound
        if self._disturbed(results):
            measured += " (disturbed: other processes were busy)"
        return Verdict(measured, met)

    def _disturbed(self, results: dict[str, Any]) -> bool:
        figures = [figure for figure in (self.figure, self.other) if figure is not None]
        foreign = [replace(figure, name="foreign_cores").find(results) for figure in figures]
        return any(found is not None and found.median > DISTURBED_CORES for found in foreign)


@dataclass(frozen=True)
class Verdict:
    """A target's line in the report; `met` is None when there is nothing to judge."""

    measured: str
    met: bool | None


def at_least(bound: float, figure: Figure, other: Figure | None = None) -> Target:
    """The figure, or its ratio to the other, must reach the bound."""
    return Target(figure, bound, True, other)


def at_most(bound: float, figure: Figure, other: Figure | None = None) -> Target:
    """The figure, or its ratio to the other, must stay within the bound."""
    return Target(figure, bound, False, other)
