"""A simulation as a picture: load, replicas, queue and waiting over one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from salver.cli.outcome import quantile, slices
from salver.core.simulation import Outcome, Scenario

__all__ = ("draw",)

SLICES: Final = 120
TICKS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 86400)
INK, SOFT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, ORANGE, RED, GREEN = "#2563eb", "#f59e0b", "#dc2626", "#0f9d58"


def draw(scenario: Scenario, outcome: Outcome, title: str, file: Path) -> None:
    """Write the picture; the file's ending says in which format."""
    figure = Figure(figsize=(10, 9), dpi=130, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, color=INK, fontweight="bold")
    load, replicas, queue, waiting = figure.subplots(4, 1, sharex=True)
    parts = list(slices(outcome, scenario.duration_s, SLICES))
    middles = [(part.begin + part.end) / 2 for part in parts]
    moments = [sample.at for sample in outcome.samples]

    _title(load, "Requests per second")
    rates = [part.came / (part.end - part.begin) for part in parts]
    load.fill_between(middles, rates, color=BLUE, alpha=0.15, linewidth=0)
    load.plot(middles, rates, color=BLUE, linewidth=1.4)

    _title(replicas, "Replicas")
    running = [sample.replicas for sample in outcome.samples]
    wishes = [min(s.wish, 1.15 * scenario.config.max_replicas) for s in outcome.samples]
    _stairs(replicas, moments, wishes, SOFT, "wanted by the policy", width=0.9)
    _stairs(replicas, moments, [s.target for s in outcome.samples], ORANGE, "decided")
    replicas.fill_between(moments, running, step="post", color=GREEN, alpha=0.15, linewidth=0)
    _stairs(replicas, moments, running, GREEN, "serving", width=1.8)
    replicas.yaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(replicas)

    _title(queue, "Requests that wait in line")
    lengths = [sample.queued for sample in outcome.samples]
    queue.fill_between(moments, lengths, step="post", color=RED, alpha=0.2, linewidth=0)
    _stairs(queue, moments, lengths, RED, "waiting")
    if outcome.refused:
        refused = [part.refused / (part.end - part.begin) for part in parts]
        queue.plot(middles, refused, color=INK, linewidth=1.2, label="refused per second")
        _legend(queue)

    _title(waiting, "Time of a request (by when it came)")
    for share, colour, name in ((0.5, BLUE, "p50"), (0.95, ORANGE, "p95"), (0.99, RED, "p99")):
        values = [quantile(part.took, share) for part in parts]
        known = [float("nan") if value is None else value for value in values]
        waiting.plot(middles, known, color=colour, linewidth=1.4, label=name)
    waiting.yaxis.set_major_formatter(FuncFormatter(_seconds))
    _legend(waiting)

    for axes in (load, replicas, queue, waiting):
        axes.set_ylim(0, 1.15 * max(axes.get_ylim()[1], 1e-3))
    waiting.set_xlim(0, scenario.duration_s)
    waiting.xaxis.set_major_locator(MultipleLocator(_tick(scenario.duration_s)))
    waiting.xaxis.set_major_formatter(FuncFormatter(_clock))
    figure.supxlabel(_said(scenario), x=0.99, ha="right", fontsize=9, color=SOFT)
    figure.savefig(file)


def _said(scenario: Scenario) -> str:
    config = scenario.config
    return (
        f"{config.min_replicas} to {config.max_replicas} replicas, "
        f"target {config.target_ongoing_requests:g} of {scenario.max_ongoing} requests each; "
        f"upscale_delay_s={config.upscale_delay_s:g}, "
        f"downscale_delay_s={config.downscale_delay_s:g}, "
        f"look_back_period_s={config.look_back_period_s:g}; {scenario.startup_s:g} s to start"
    )


def _tick(duration_s: float) -> float:
    """Seconds between two marks of the time axis: few marks, at round times."""
    return next((step for step in TICKS if duration_s / step <= 10), duration_s / 10)


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10, color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=SOFT, labelsize=9, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def _stairs(
    axes: Axes, at: Sequence[float], values: Sequence[float], colour: str, name: str, **how: Any
) -> None:
    width = how.get("width", 1.4)
    axes.plot(at, values, drawstyle="steps-post", color=colour, linewidth=width, label=name)


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper right", fontsize=9, frameon=False, ncols=3, labelcolor=INK)


def _seconds(value: float, _place: int) -> str:
    return f"{value * 1000:g} ms" if 0 < value < 1 else f"{value:g} s"


def _clock(value: float, _place: int) -> str:
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
