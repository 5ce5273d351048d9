"""results.json, into which partial runs are merged, and RESULTS.md, which is made from it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.cases import CASES, TARGETS
from bench.contenders import CONTENDERS
from bench.harness.targets import Target

Results = dict[str, Any]
Cell = Callable[[dict[str, float]], str]


def _number(name: str, text: str) -> Cell:
    return lambda median: text.format(median[name]) if name in median else ""


def _rate(median: dict[str, float]) -> str:
    if "rate" not in median:
        return ""
    low, high = median["rate_min"], median["rate_max"]
    return f"{median['rate']:,.0f} ({low:,.0f} to {high:,.0f})"


COLUMNS: dict[str, Cell] = {
    "req/s (range)": _rate,
    "p50 ms": _number("p50_ms", "{:.3f}"),
    "p99 ms": _number("p99_ms", "{:.3f}"),
    "first byte p50 ms": _number("first_p50_ms", "{:.3f}"),
    "first byte p99 ms": _number("first_p99_ms", "{:.3f}"),
    "chunks/s": _number("chunks_rate", "{:,.0f}"),
    "CPU µs/req": _number("cpu_us", "{:,.1f}"),
    "hits of ideal": _number("hits_of_ideal", "{:.1%}"),
    "start s": _number("start_s", "{:.3f}"),
    "ready ms": _number("ready_ms", "{:.1f}"),
    "second replica ms": _number("second_ms", "{:,.0f}"),
    "capacity ms": _number("capacity_ms", "{:,.0f}"),
    "memcpy ms": _number("copy_ms", "{:.3f}"),
    "x memcpy each way": _number("copies", "{:.2f}"),
    "added MiB": _number("added_mib", "{:.1f}"),
    "PSS MiB": _number("pss_mib", "{:,.0f}"),
    "processes": _number("processes", "{:.0f}"),
    "server cores": _number("server_cores", "{:.2f}"),
    "client cores": _number("client_cores", "{:.2f}"),
    "foreign cores": _number("foreign_cores", "{:.2f}"),
    "errors": _number("errors", "{:,.0f}"),
}

METHOD = """\
## How it is measured

- What keeps a missed target from being met: [LIMITS.md](LIMITS.md).
- What one of 500 deployments and of 2,000 handles costs: [many.md](many.md).
- Contenders take turns: in every round each is started, checked for the right answer, warmed up
  for a second, measured and ended, so that they share the slow drifts of the machine. A cell is
  the median over the rounds of that figure alone; the range is of the rates.
- Servers and the load generator share the machine and the loopback device. Closed-loop load is
  `wrk -t1` with keep-alive (`c32`: 32 connections); `open2000` is `bench/openloop.py`, 2,000
  requests a second whatever the server does, latency from the intended send time; `clients32` is
  `bench/streams.py`; `k100` is a loop inside the server with 100 calls in flight; `step16` is
  `bench/step.py`, 16 clients that begin at once, each asking for an answer of 50 ms again
  and again, until every replica has given one.
- CPU is user and system time of the server's whole process tree; PSS is that tree's memory, with
  shared pages counted once, just after the load (`idle`: at rest).
- Before each timed part the bench waits until other processes use little CPU; a run during which
  they used more is repeated a bounded number of times and the calmest is kept.
- `upload` starts a new server for each size: on Linux the C library's allocator serves large blocks
  several times faster after it has once freed a larger one, so the order would decide.
- Salver runs with everything on (routing, request ids, limits, counters). Access logs are off
  for uvicorn, FastAPI, Granian, LitServe and MLServer, and as they come for Ray Serve and BentoML.
  LitServe, BentoML and MLServer are asked by POST, as they want it.
- A ratio is the median of the ratios of the rounds, for in each of them both were measured within
  a minute or two: it need not be the ratio of the two medians shown. A ratio of figures that come
  from two different runs of the bench is that of the medians, and says so.
"""


def load_results(path: Path) -> Results:
    """What earlier runs found."""
    if path.is_file():
        found: Results = json.loads(path.read_text())
        return found
    return {"machine": {}, "runs": {}, "cases": {}}


def merge(results: Results, case: str, entry: str, record: Results) -> None:
    """Put one entry's new record in the place of its old one."""
    results["cases"].setdefault(case, {})[entry] = record


def save(results: Results, json_path: Path, page_path: Path) -> None:
    """Write both files."""
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps(_rounded(results), indent=1, sort_keys=True) + "\n")
    page_path.write_text(page(results))


def page(results: Results) -> str:
    """RESULTS.md."""
    parts = ["# Salver and its peers, measured\n", _machine(results), _targets(results)]
    parts += [_case(name, results) for name in CASES if results["cases"].get(name)]
    parts += [METHOD, _versions(results)]
    return "\n".join(parts)


def _machine(results: Results) -> str:
    facts = results["machine"]
    line = "; ".join(f"{name}: {value}" for name, value in facts.items() if name != "date")
    used = {r.get("run") for case in results["cases"].values() for r in case.values()}
    runs = [run for key, run in sorted(results["runs"].items()) if key in used]
    commands = "".join(f"    {run['command']}   # {run['date']}, {run['salver']}\n" for run in runs)
    return f"{line}.\n\nMade by:\n\n{commands}"


def _targets(results: Results) -> str:
    rows = [_target_row(target, results) for target in TARGETS]
    judged = [target.judge(results).met for target in TARGETS]
    met = f"{judged.count(True)} of {len(TARGETS)} met"
    met += f", {judged.count(None)} not measured" if None in judged else ""
    head = "| case | load | target | measured | met |\n|---|---|---|---|---|\n"
    return f"## Targets: {met}\n\n{head}" + "".join(rows)


def _target_row(target: Target, results: Results) -> str:
    verdict = target.judge(results)
    word = {True: "yes", False: "**no**", None: "?"}[verdict.met]
    figure = target.figure
    return f"| {figure.case} | {figure.load} | {target.text} | {verdict.measured} | {word} |\n"


def _case(name: str, results: Results) -> str:
    records = {k: v for k, v in results["cases"][name].items() if v["loads"]}
    if not records:
        remarks = "\n".join(_remarks(results["cases"][name]))
        return f"## {name}: {CASES[name].what}\n{remarks}\n"
    medians = [load["median"] for r in records.values() for load in r["loads"].values()]
    columns = {title: cell for title, cell in COLUMNS.items() if any(cell(m) for m in medians)}
    if "server cores" in columns and not any(m.get("errors") for m in medians):
        columns.pop("errors", None)
    who = {e.name: CONTENDERS[e.contender].title for e in CASES[name].entries}
    who |= {e.name: f"{who[e.name]} ({e.label})" for e in CASES[name].entries if e.label}
    lines = [f"## {name}: {CASES[name].what}\n"]
    lines.append("| load | who | " + " | ".join(columns) + " |")
    lines.append("|---|---|" + "---:|" * len(columns))
    for load in CASES[name].every_load():
        for entry, record in _in_order(name, records):
            if load.key in record["loads"]:
                median = record["loads"][load.key]["median"]
                cells = " | ".join(cell(median) for cell in columns.values())
                lines.append(f"| {load.key} | {who[entry]} | {cells} |")
    return "\n".join(lines + _remarks(results["cases"][name])) + "\n"


def _in_order(case: str, records: Results) -> list[tuple[str, Results]]:
    order = [entry.name for entry in CASES[case].entries]
    return [(name, records[name]) for name in order if name in records]


def _remarks(records: Results) -> list[str]:
    lines = []
    for entry, record in records.items():
        if record.get("error"):
            first = record["error"].splitlines()[0]
            lines.append(f"- {entry} failed: {first}")
        if record.get("processes_left_behind"):
            count = record["processes_left_behind"]
            lines.append(f"- {entry}: {count} processes outlived its end and were killed.")
        if record.get("disturbed_runs"):
            lines.append(f"- {entry}: {record['disturbed_runs']} disturbed runs were repeated.")
    return ["", *lines] if lines else []


def _versions(results: Results) -> str:
    seen: dict[str, dict[str, str]] = {}
    for case in results["cases"].values():
        for record in case.values():
            seen[record["title"]] = record["versions"]
    lines = [
        f"| {title} | {', '.join(f'{name} {v}' for name, v in versions.items())} |"
        for title, versions in sorted(seen.items())
    ]
    return "\n".join(["## Versions\n", "| who | with |", "|---|---|", *lines]) + "\n"


def _rounded(value: Any) -> Any:
    """Numbers to six digits: more says nothing, and makes differences hard to read."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
