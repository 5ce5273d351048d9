"""`bench/run`: what to measure, how thoroughly, and where it goes."""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.cases import CASES, Entry
from bench.contenders import CONTENDERS
from bench.harness import report
from bench.harness.envs import SHOWN, EnvError, Envs
from bench.harness.load import INSTALL_WRK
from bench.harness.machine import ROOT, facts, find_wrk, only_one
from bench.harness.runner import Runner, Settings

ABOUT = """\
Measure Salver against its peers on this machine.

Each case is one program, written for each contender in bench/apps/. Contenders take turns, round
after round; the figures are medians. Results go to bench/RESULTS.md (the targets first) and
bench/results.json; a run of some cases or contenders replaces only their part of both.
"""
EXAMPLES = """\
examples:
  bench/run                                   everything: about half an hour
  bench/run --case hello                      one case
  bench/run --case hello --contender salver,uvicorn --seconds 1 --runs 3
  bench/run --build                           only build the environments (bench/.envs,
                                              or $SALVER_BENCH_ENVS)
  bench/run --pin base                        resolve one environment afresh
  bench/run --report                          only write RESULTS.md again

cases:
{cases}

contenders:
{contenders}
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when everything asked for was measured."""
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    envs = Envs(_say)
    try:
        if args.pin or args.build:
            return _prepare(args, envs)
        if args.report:
            results = report.load_results(args.out / "results.json")
            report.save(results, args.out / "results.json", args.out / "RESULTS.md")
            return 0
        with only_one(_say):
            return _measure(args, envs)
    except EnvError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("stopped")
        return 130


def _prepare(args: argparse.Namespace, envs: Envs) -> int:
    for env in args.pin:
        envs.pin(env)
    for env in args.pin or SHOWN:
        envs.build(env)
    _say(f"environments are in {envs.folder}")
    if find_wrk() is None:
        _say(INSTALL_WRK)
    return 0


def _measure(args: argparse.Namespace, envs: Envs) -> int:
    if find_wrk() is None:
        _say(INSTALL_WRK)
        return 1
    settings = Settings(args.seconds, args.runs, args.repeats, args.quiet, args.patience)
    json_path, page_path = args.out / "results.json", args.out / "RESULTS.md"
    results = report.load_results(json_path)
    machine, run = facts(), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    failed, runner = 0, Runner(settings, envs, _say)
    for name in args.case:
        entries = [e for e in CASES[name].entries if _wanted(e, args.contender)]
        if not entries:
            continue
        _say(f"{name}: {CASES[name].what}")
        outcomes = runner.run(name, CASES[name], entries)
        results["machine"] = machine
        results["runs"][run] = {
            "command": _command_line(args),
            "date": machine["date"],
            "salver": machine["salver"],
        }
        for entry in entries:
            outcome, contender = outcomes[entry.name], CONTENDERS[entry.contender]
            record = outcome.record(contender.title, envs.versions(contender.env), run)
            report.merge(results, name, entry.name, record)
            failed += bool(outcome.error)
        report.save(results, json_path, page_path)
    _say(f"written: {page_path} and {json_path}" + (f"; {failed} failed" if failed else ""))
    return 1 if failed else 0


def _wanted(entry: Entry, chosen: Sequence[str]) -> bool:
    return not chosen or entry.contender in chosen or entry.name in chosen


def _command_line(args: argparse.Namespace) -> str:
    """The command that makes these figures again."""
    words = ["bench/run"]
    if args.case != list(CASES):
        words += ["--case", ",".join(args.case)]
    if args.contender:
        words += ["--contender", ",".join(args.contender)]
    return shlex.join([*words, "--seconds", f"{args.seconds:g}", "--runs", str(args.runs)])


def _names(known: Sequence[str]) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(
                    f"'{name}' is not known; known are: {', '.join(known)}"
                )
        return names

    return split


def _parser() -> argparse.ArgumentParser:
    cases = "\n".join(f"  {name:<12} {case.what}" for name, case in CASES.items())
    contenders = "\n".join(f"  {name:<12} {c.title}" for name, c in CONTENDERS.items())
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description=ABOUT,
        epilog=EXAMPLES.format(cases=cases, contenders=contenders),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    labels = [entry.name for case in CASES.values() for entry in case.entries]
    known = list(dict.fromkeys([*CONTENDERS, *labels]))
    add = parser.add_argument
    add("--case", type=_names(list(CASES)), default=list(CASES), help="cases, by comma (all)")
    add("--contender", type=_names(known), default=[], help="contenders, by comma (all)")
    add("--seconds", type=float, default=3.0, help="length of a timed run (3)")
    add("--runs", type=int, default=3, help="rounds; the median counts (3)")
    add("--repeats", type=int, default=3, help="repeat a disturbed run at most so often (3)")
    add("--quiet", type=float, default=0.15, help="cores that others may use (0.15)")
    add("--patience", type=float, default=60.0, help="seconds to wait for that; 0: never (60)")
    add("--out", type=Path, default=ROOT / "bench", help="folder of the results (bench)")
    add("--build", action="store_true", help="build the environments, measure nothing")
    add("--pin", type=_names(list(SHOWN)), default=[], help="write new pins of these environments")
    add("--report", action="store_true", help="write RESULTS.md from results.json")
    return parser


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
