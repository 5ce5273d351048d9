"""Arithmetic of the bench: medians of runs, ratios, the queue that nothing can beat."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

Run = Mapping[str, float]


def median_of(runs: Sequence[Run]) -> dict[str, float]:
    """The median of each figure over the runs that have it, by itself."""
    names = dict.fromkeys(name for run in runs for name in run)
    out = {n: statistics.median([run[n] for run in runs if n in run]) for n in names}
    if "rate" in out:
        out["rate_min"] = min(run["rate"] for run in runs)
        out["rate_max"] = max(run["rate"] for run in runs)
    return out


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the (sorted) values do not exceed."""
    if not values:
        return float("nan")
    rank = max(1, -(-len(values) * share // 1))
    return values[min(len(values), int(rank)) - 1]


def ideal_closed_queue_ms(clients: int, servers: int, service_ms: float) -> float:
    """Time of every request when `clients` take turns at `servers` that never stand idle."""
    return clients / servers * service_ms


def choose(candidates: Sequence[Run], wanted: int) -> list[Run]:
    """The `wanted` runs that others disturbed least, in the order they were made."""
    by_calm = sorted(range(len(candidates)), key=lambda i: candidates[i].get("foreign_cores", 0.0))
    return [candidates[i] for i in sorted(by_calm[:wanted])]
