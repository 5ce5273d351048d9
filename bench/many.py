"""Does it stay flat? From few deployments and handles to 500 and 2,000, plotted per item.

usage: python -m bench.many [--sizes 50,100,200,350,500] [--out bench]

For each size a fresh instance runs one app of so many deployments, one replica each, and four
handles for each. Writes many.md and many.png: what one deployment costs to start and in `status()`,
what a new handle costs with its first call, and a call by a handle that is in use.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.harness.machine import facts, only_one
from salver import serve

HANDLES = 4  # for each deployment
CALLS = 4000
FIGURES = {
    "start_ms": ("start, per deployment", "ms"),
    "status_us": ("status(), per deployment", "us"),
    "handle_us": ("a new handle and its first call", "us"),
    "call_us": ("a call by a handle in use", "us"),
}


class Leaf:
    """One of many."""

    async def echo(self, value: int) -> int:
        return value


class Hub:
    """Holds them all together as one app."""

    def __init__(self, leaves: list[Any]) -> None:
        self.leaves = leaves

    async def __call__(self) -> int:
        return len(self.leaves)


def _timed(action: Callable[[], object], times: int = 1) -> float:
    """Seconds; the median, if it is done several times."""
    spans = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        spans.append(time.perf_counter() - began)
    return median(spans)


def measure(size: int) -> dict[str, float]:
    """The four figures with so many deployments."""
    leaf = serve.deployment(Leaf)
    leaves = [leaf.options(name=f"Leaf{i}").bind() for i in range(size - 1)]
    app = serve.deployment(Hub).bind(leaves)
    serve.start(http_options={"port": 0})
    try:
        start = _timed(lambda: serve.run(app))
        status = _timed(serve.status, times=9)
        handles: list[Any] = []
        first = _timed(lambda: handles.extend(_first_calls(size)))
        later = _timed(lambda: _calls(handles))
    finally:
        serve.shutdown()
    return {
        "start_ms": start / size * 1e3,
        "status_us": status / size * 1e6,
        "handle_us": first / len(handles) * 1e6,
        "call_us": later / CALLS * 1e6,
    }


def _first_calls(size: int) -> list[Any]:
    handles = [
        serve.get_deployment_handle(f"Leaf{i}", "default")
        for _ in range(HANDLES)
        for i in range(size - 1)
    ]
    for handle in handles:
        assert handle.echo.remote(1).result() == 1
    return handles


def _calls(handles: Sequence[Any]) -> None:
    chosen = random.Random(0).choices(handles, k=CALLS)
    for number, handle in enumerate(chosen):
        assert handle.echo.remote(number).result() == number


def _in_fresh_process(size: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "bench.many", "--one", str(size)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    print(f"{size:5d} deployments  {done.stdout.strip()}", flush=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def write(rows: dict[int, dict[str, float]], out: Path, machine: dict[str, str], line: str) -> None:
    """The table and the picture."""
    titles = " | ".join(f"{title} ({unit})" for title, unit in FIGURES.values())
    lines = [
        "# Many deployments, many handles: cost per item",
        "",
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores. Made by `{line}`.",
        "",
        f"| deployments | handles | {titles} |",
        "|" + "---:|" * (2 + len(FIGURES)),
    ]
    for size, row in rows.items():
        cells = " | ".join(f"{row[name]:,.1f}" for name in FIGURES)
        lines.append(f"| {size:,} | {HANDLES * (size - 1):,} | {cells} |")
    lines += ["", "![cost per item](many.png)", ""]
    (out / "many.md").write_text("\n".join(lines))
    plot(rows, out / "many.png")


def plot(rows: dict[int, dict[str, float]], path: Path) -> None:
    """One panel for each figure; a flat line is what is hoped for."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.5), layout="constrained")
    for axes, (name, (title, unit)) in zip(
        figure.subplots(2, 2).flat, FIGURES.items(), strict=True
    ):
        axes.plot(list(rows), [row[name] for row in rows.values()], marker="o", color="#1f6f8b")
        axes.set(title=title, ylabel=unit, xlabel="deployments", xlim=(0, None))
        axes.set_ylim(0, max(row[name] for row in rows.values()) * 1.35)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """One size, in this process; or all of them, each in its own."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", default="50,100,200,350,500", help="how many deployments")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where to write")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    with only_one(print):
        rows = {int(size): _in_fresh_process(int(size)) for size in given.sizes.split(",")}
    write(rows, given.out, facts(), f"python -m bench.many --sizes {given.sizes}")


if __name__ == "__main__":
    main()
