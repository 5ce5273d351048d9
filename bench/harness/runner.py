"""Runs one case: contenders in turn, round after round, each on a quiet machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cases import Case, Entry
from bench.contenders import CONTENDERS, Contender, Site, free_port
from bench.harness.envs import EnvError, Envs
from bench.harness.load import Bench, Figures, Load
from bench.harness.machine import wait_quiet
from bench.harness.processes import CpuMeter, bench_cpu_s
from bench.harness.servers import Request, Server, ServerError, running
from bench.harness.stats import choose, median_of

WARM_UP_S = 1.0


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure."""

    seconds: float
    runs: int
    repeats: int
    quiet_cores: float
    patience_s: float


@dataclass
class Outcome:
    """What became of one entry: the runs of each load, or why there are none."""

    runs: dict[str, list[Figures]] = field(default_factory=dict)
    disturbed: int = 0
    left_behind: int = 0
    error: str = ""

    def record(self, title: str, versions: dict[str, str], run: str) -> dict[str, Any]:
        """The entry's part of results.json."""
        loads = {key: {"median": median_of(rs), "runs": rs} for key, rs in self.runs.items() if rs}
        record: dict[str, Any] = {"title": title, "versions": versions, "run": run, "loads": loads}
        record["disturbed_runs"] = self.disturbed
        record["processes_left_behind"] = self.left_behind
        if self.error:
            record["error"] = self.error
        return record


class Runner:
    """Measures cases with one set of settings."""

    def __init__(self, settings: Settings, envs: Envs, say: Callable[[str], None]) -> None:
        self._settings, self._envs, self._say = settings, envs, say

    def run(self, name: str, case: Case, entries: Sequence[Entry]) -> dict[str, Outcome]:
        """Round by round, each entry in turn, so that slow drifts of the machine are shared."""
        outcomes = {entry.name: Outcome() for entry in entries}
        for round_ in range(1, self._settings.runs + 1):
            for entry in entries:
                outcome = outcomes[entry.name]
                if outcome.error:
                    continue
                label = f"{name:<11} {entry.name:<12} run {round_}/{self._settings.runs}"
                try:
                    loads = entry.loads or case.loads
                    for visit in [[load] for load in loads] if case.fresh else [loads]:
                        self._visit(label, entry, visit, outcome)
                except (ServerError, EnvError) as error:
                    outcome.error = str(error)
                    self._say(f"{label}  FAILED: {error}")
        return outcomes

    def _visit(self, label: str, entry: Entry, loads: Sequence[Load], outcome: Outcome) -> None:
        """Start the server once, put every load on it, end it."""
        contender = CONTENDERS[entry.contender]
        self._envs.build(contender.env)
        self._envs.build("base")  # the load generators run there
        for repeat in range(self._settings.repeats + 1):
            self._wait_quiet(label, lambda: 0.0)
            figures, calm = self._measure(label, contender, entry.app, loads, outcome)
            if calm or repeat == self._settings.repeats:
                break
            outcome.disturbed += 1
            self._say(f"{label}  disturbed while it started; again")
        for key, values in figures.items():
            outcome.runs.setdefault(key, []).append(values)

    def _measure(
        self, label: str, contender: Contender, app: str, loads: Sequence[Load], outcome: Outcome
    ) -> tuple[dict[str, Figures], bool]:
        scratch = Path(tempfile.mkdtemp(prefix="sb-"))
        request = contender.requests[app]
        python, client = (self._envs.executable(env, "python") for env in ("base", "salver"))
        bench = Bench(python, client, scratch)
        figures: dict[str, Figures] = {}
        try:
            launch = contender.launch(app, free_port(), Site(self._envs, scratch))
            with running(launch, request, scratch) as server:
                for load in loads:
                    figures[load.key] = self._load(label, load, server, request, bench, outcome)
            outcome.left_behind = max(outcome.left_behind, server.left_behind)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        limit = self._settings.quiet_cores
        untimed = [figures[load.key] for load in loads if not load.timed]
        return figures, all(f.get("foreign_cores", 0.0) <= limit for f in untimed)

    def _load(
        self,
        label: str,
        load: Load,
        server: Server,
        request: Request,
        bench: Bench,
        outcome: Outcome,
    ) -> Figures:
        """One figure of one run; disturbed runs are repeated, the calmest is kept."""
        label = f"{label}  {load.key:<10}"
        if not load.timed:
            figures = load.run(server, request, bench, 0.0)
            self._say(f"{label} {_summary(figures)}")
            return figures
        load.run(server, request, bench, WARM_UP_S)
        tries: list[Figures] = []
        for _ in range(self._settings.repeats + 1):
            self._wait_quiet(label, server.cpu_s)
            meter = CpuMeter(server.pid, server.mark)
            figures = load.run(server, request, bench, self._settings.seconds)
            figures |= meter.read()
            figures["cpu_us"] = figures.pop("server_s") / max(1.0, figures["requests"]) * 1e6
            figures["pss_mib"] = server.memory_mib()
            tries.append(figures)
            self._say(f"{label} {_summary(figures)}")
            if figures["foreign_cores"] <= self._settings.quiet_cores:
                break
        outcome.disturbed += len(tries) - 1
        return dict(choose(tries, 1)[0])

    def _wait_quiet(self, label: str, server_cpu_s: Callable[[], float]) -> None:
        if self._settings.patience_s <= 0:
            return
        limit = self._settings.quiet_cores
        foreign = wait_quiet(
            limit, self._settings.patience_s, lambda: server_cpu_s() + sum(bench_cpu_s())
        )
        if foreign >= limit:
            self._say(f"{label}  goes on although others use {foreign:.2f} cores")


_SHORT = {
    "rate": "{:,.0f}/s",
    "p50_ms": "p50 {:.3f} ms",
    "p99_ms": "p99 {:.3f} ms",
    "first_p50_ms": "first byte {:.3f} ms",
    "cpu_us": "CPU {:.1f} us",
    "start_s": "first 200 after {:.3f} s",
    "pss_mib": "{:.1f} MiB",
    "ready_ms": "ready in {:.1f} ms",
    "second_ms": "second replica after {:,.0f} ms",
    "copies": "{:.2f} x memcpy each way",
    "capacity_ms": "all after {:,.0f} ms",
    "added_mib": "+{:.1f} MiB",
    "foreign_cores": "foreign {:.2f}",
}


def _summary(figures: Figures) -> str:
    """One progress line."""
    parts = [text.format(figures[name]) for name, text in _SHORT.items() if name in figures]
    if figures.get("errors"):
        parts.append(f"ERRORS {figures['errors']:.0f}")
    return "  ".join(parts)
