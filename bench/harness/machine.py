"""The machine: what it is, the lock that keeps bench runs apart, and waiting until it is quiet."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from bench.harness.processes import machine_busy_s

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_S = 0.5


def _first(path: str, key: str) -> str:
    """The value of the first `key : value` line of a file of /proc."""
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown"


def _output(*argv: str) -> str:
    """What a command prints, or nothing when it cannot be run."""
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip()


def facts() -> dict[str, str]:
    """What a reader needs to judge the figures."""
    memory_kib = _first("/proc/meminfo", "MemTotal").split()[0]
    virtual = "hypervisor" in _first("/proc/cpuinfo", "flags").split()
    commit = _output("git", "rev-parse", "--short=12", "HEAD") or "unknown"
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", "src")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _first("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory_kib) / 1048576:.0f} GiB" if memory_kib.isdigit() else "unknown",
        "machine": "virtual" if virtual else "physical",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wrk": next(iter(_output("wrk", "-v").splitlines()), "missing").split(" [")[0],
        "salver": commit + (" with local changes" if changed else ""),
    }


def find_wrk() -> str | None:
    """Where wrk is; None when it must be installed first."""
    return shutil.which("wrk")


@contextlib.contextmanager
def only_one(say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock that two bench runs on one machine cannot hold at once."""
    path = os.environ.get("SALVER_BENCH_LOCK", f"{tempfile.gettempdir()}/salver-bench.lock")
    with Path(path).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"waiting: another bench run (process {file.read().strip()}) holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def wait_quiet(limit: float, patience_s: float, own_cpu_s: Callable[[], float]) -> float:
    """Sample /proc/stat until others use less than `limit` cores; gives what they use.

    Gives up after `patience_s`: the run itself is judged by the same measure afterwards.
    """
    deadline = time.monotonic() + patience_s
    while True:
        busy, own, began = machine_busy_s(), own_cpu_s(), time.monotonic()
        time.sleep(SAMPLE_S)
        wall = time.monotonic() - began
        foreign = (machine_busy_s() - busy - (own_cpu_s() - own)) / wall
        if foreign < limit or time.monotonic() >= deadline:
            return max(0.0, foreign)
