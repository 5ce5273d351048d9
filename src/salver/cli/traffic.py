"""Requests for a simulation: shapes by formula, traces from files, and how long each takes."""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

__all__ = (
    "LONGEST_S",
    "MOST",
    "SHAPES",
    "TrafficError",
    "arrivals",
    "form_of",
    "read_service",
    "read_trace",
    "shape",
    "volume",
)

Rate = Callable[[float], float]  # requests per second at a moment

LEAST_S: Final = 0.001  # a rate is taken as constant for so long, or for so many parts of it all:
PARTS: Final = 100_000
LONGEST_S: Final = 366 * 86400  # a simulation; a trace of milliseconds would never end
MOST: Final = 20_000_000  # requests, which may be held in memory


class TrafficError(ValueError):
    """What was given describes no traffic; the message says what was expected."""


# ---- shapes: name -> (the parts of its value, how many of them must be there, what it means)

SHAPES: Final[dict[str, tuple[tuple[str, ...], int, str]]] = {
    "rate": (("RATE",), 1, "the same all the time"),
    "step": (("BEFORE", "AFTER", "AT_S"), 2, "from one rate to another at a moment"),
    "ramp": (("FROM", "TO"), 2, "from one rate to another, little by little"),
    "spike": (("BASE", "PEAK", "LENGTH_S"), 2, "one short peak over a base"),
    "sine": (("LOW", "HIGH", "PERIOD_S"), 2, "up and down in waves"),
}


def shape(kind: str, text: str, duration_s: float) -> Rate:
    """The rate over time that `--step 2,50` and its like describe. TrafficError: no such thing."""
    names, needed, _ = SHAPES[kind]
    try:
        given = [float(part) for part in text.split(",")]
    except ValueError:
        given = []
    if not needed <= len(given) <= len(names) or not all(0 <= x < math.inf for x in given):
        form = form_of(kind)
        raise TrafficError(
            f"--{kind} {text} is not of the form {form}, numbers that are 0 or more."
        )
    return _RATES[kind](duration_s, *given)


def form_of(kind: str) -> str:
    """How its value is written: `BEFORE,AFTER[,AT_S]`."""
    names, needed, _ = SHAPES[kind]
    return ",".join(names[:needed]) + "".join(f"[,{name}]" for name in names[needed:])


def _constant(_duration: float, rate: float) -> Rate:
    return lambda _at: rate


def _step(duration: float, before: float, after: float, at: float | None = None) -> Rate:
    moment = duration / 4 if at is None else at
    return lambda now: before if now < moment else after


def _ramp(duration: float, start: float, end: float) -> Rate:
    return lambda now: start + (end - start) * now / duration


def _spike(duration: float, base: float, peak: float, length: float | None = None) -> Rate:
    long = duration / 10 if length is None else length
    begin = duration / 4
    return lambda now: peak if begin <= now < begin + long else base


def _sine(duration: float, low: float, high: float, period: float | None = None) -> Rate:
    turn = (duration / 2 if period is None else period) or duration
    middle, swing = (low + high) / 2, (high - low) / 2
    return lambda now: middle - swing * math.cos(2 * math.pi * now / turn)


_RATES: Final[dict[str, Callable[..., Rate]]] = {
    "rate": _constant,
    "step": _step,
    "ramp": _ramp,
    "spike": _spike,
    "sine": _sine,
}


def arrivals(rate: Rate, duration_s: float, chance: Random | None = None) -> Iterator[float]:
    """When requests come: evenly spaced by the rate, or at random (Poisson) with `chance`.

    Each comes when the area under the rate has grown by one, or by an exponential draw.
    """
    pace = _pace(duration_s)
    now, area = 0.0, 0.0
    wanted = chance.expovariate(1) if chance else 0.5
    while now < duration_s:
        height = rate(now + pace / 2)
        grown = area + height * pace
        while grown >= wanted:
            moment = now + (wanted - area) / height
            if moment >= duration_s:
                return
            yield moment
            wanted += chance.expovariate(1) if chance else 1.0
        now, area = now + pace, grown


def volume(rate: Rate, duration_s: float) -> float:
    """How many requests come."""
    pace = _pace(duration_s)
    return pace * sum(rate((part + 0.5) * pace) for part in range(math.ceil(duration_s / pace)))


def _pace(duration_s: float) -> float:
    return max(LEAST_S, duration_s / PARTS)


# ---- traces


def read_trace(path: str, chance: Random | None = None) -> tuple[list[float], float]:
    """The arrivals of a CSV or JSONL file, from 0 on, and how long it lasts in seconds.

    Rows have `time` (of an arrival), or `time` and `rate` (requests per second from then on). The
    last row lasts as long as the one before.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TrafficError(f"The trace {path} cannot be read: {error}.") from None
    rows = list(_json_rows(path, text) if text.lstrip()[:1] == "{" else _csv_rows(path, text))
    if not rows:
        raise TrafficError(f"The trace {path} is empty: expected rows with `time` (and `rate`).")
    begin = rows[0][0]
    rows = [(at - begin, rate) for at, rate in rows]
    if any(later[0] < row[0] for row, later in itertools.pairwise(rows)):
        raise TrafficError(f"The trace {path} is not in the order of its times.")
    last = (rows[-1][0] - rows[-2][0] if len(rows) > 1 else 0.0) or 1.0
    end = rows[-1][0] + last
    if not end <= LONGEST_S:
        raise TrafficError(f"The trace {path} lasts {end:g} s: expected times in seconds.")
    rates = [rate for _, rate in rows if rate is not None]
    if not rates:
        return [at for at, _ in rows], end
    if len(rates) < len(rows):
        raise TrafficError(f"Some rows of the trace {path} have a rate, and some have none.")
    steps = [*((at, rate or 0.0) for at, rate in rows), (end, 0.0)]
    number = sum(rate * (until - at) for (at, rate), (until, _) in itertools.pairwise(steps))
    if not number <= MOST:
        raise TrafficError(f"The trace {path} has {number:.3g} requests: expected up to {MOST:,}.")
    return list(_by_rates(steps, chance)), end


def _by_rates(steps: list[tuple[float, float]], chance: Random | None) -> Iterator[float]:
    area, wanted = 0.0, chance.expovariate(1) if chance else 0.5
    for (at, rate), (until, _) in itertools.pairwise(steps):
        grown = area + rate * (until - at)
        while grown >= wanted:
            yield at + (wanted - area) / rate
            wanted += chance.expovariate(1) if chance else 1.0
        area = grown


def _csv_rows(path: str, text: str) -> Iterator[tuple[float, float | None]]:
    lines = csv.reader(text.splitlines())
    head = [cell.strip().lower() for cell in next(lines, [])]
    if head and _is_number(head[0]):  # no head: time, or time and rate
        lines = csv.reader(text.splitlines())
        head = ["time", "rate"][: len(head)]
    if head and "time" not in head:
        raise TrafficError(f"The trace {path} has no column `time`; it has: {', '.join(head)}.")
    for number, cells in enumerate(lines, 1):
        if cells:
            yield _row(path, number, dict(zip(head, cells, strict=False)))


def _json_rows(path: str, text: str) -> Iterator[tuple[float, float | None]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise TrafficError(f"Row {number} of {path} is not JSON: {error}.") from None
            yield _row(path, number, row)


def _row(path: str, number: int, row: Any) -> tuple[float, float | None]:
    try:
        rate = row.get("rate")
        at, rate = float(row["time"]), None if rate in (None, "") else float(rate)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise TrafficError(
            f"Row {number} of {path} is {row!r}: expected a number as `time`, and as `rate` if "
            "there is one."
        ) from None
    if not math.isfinite(at) or not 0 <= (rate or 0) < math.inf:
        raise TrafficError(f"Row {number} of {path} is {row!r}: expected a rate of 0 or more.")
    return at, rate


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- how long requests take


def read_service(text: str, chance: Random) -> Callable[[], float]:
    """`0.1`, `exp:0.1` (mean), `uniform:0.05,0.2`, `lognormal:0.1,0.5` (median, sigma)."""
    kind, colon, rest = text.rpartition(":")
    try:
        given = [float(part) for part in rest.split(",")]
        wrong = any(not 0 <= part < math.inf for part in given)
        draw = _DRAWS[kind if colon else "constant"](chance, *given)
    except (KeyError, TypeError, ValueError):
        wrong = True
    if wrong:
        raise TrafficError(
            f"--service {text} is not a time: expected seconds such as 0.1, or exp:MEAN, "
            "uniform:FROM,TO, lognormal:MEDIAN,SIGMA."
        )
    return draw


def _exponential(chance: Random, mean: float) -> Callable[[], float]:
    return lambda: chance.expovariate(1 / mean) if mean else 0.0


def _lognormal(chance: Random, median: float, sigma: float) -> Callable[[], float]:
    return lambda: chance.lognormvariate(math.log(median), sigma) if median else 0.0


def _uniform(chance: Random, low: float, high: float) -> Callable[[], float]:
    return lambda: chance.uniform(low, high)


def _always(_chance: Random, seconds: float) -> Callable[[], float]:
    return lambda: seconds


_DRAWS: Final[dict[str, Callable[..., Callable[[], float]]]] = {
    "constant": _always,
    "exp": _exponential,
    "uniform": _uniform,
    "lognormal": _lognormal,
}
