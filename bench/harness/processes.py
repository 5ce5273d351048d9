"""What /proc knows: which processes a server consists of, their CPU time and their memory."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessStat:
    """One line of /proc/<pid>/stat: enough for trees and CPU time."""

    pid: int
    name: str
    state: str
    parent: int
    cpu_s: float
    started: int


Stats = dict[int, ProcessStat]


def read_stat(pid: int) -> ProcessStat | None:
    """The stat of one process; None when it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    rest = text[text.rindex(")") + 2 :].split()
    cpu = (int(rest[11]) + int(rest[12])) / TICKS
    return ProcessStat(pid, name, rest[0], int(rest[1]), cpu, int(rest[19]))


def all_stats() -> Stats:
    """Every process that can be seen."""
    found = (read_stat(int(d.name)) for d in PROC.iterdir() if d.name.isdigit())
    return {stat.pid: stat for stat in found if stat is not None}


def carries_mark(pid: int, mark: bytes) -> bool:
    """Whether the process was started with this text in its environment."""
    try:
        return mark in (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False


def family(root: int, mark: str, among: Stats | None = None) -> Stats:
    """The root, its descendants, and whoever else inherited the mark in its environment.

    Descent finds what a server forked; the mark finds what it sent into the background.
    """
    stats = all_stats() if among is None else among
    children: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    marked = mark.encode()
    todo = [root, *(pid for pid in stats if pid != os.getpid() and carries_mark(pid, marked))]
    found: Stats = {}
    while todo:
        pid = todo.pop()
        if pid in found or pid not in stats:
            continue
        if stats[pid].state != "Z":
            found[pid] = stats[pid]
        todo += children.get(pid, [])
    return found


def pss_mib(pids: Stats) -> float:
    """Memory of these processes, each shared page counted once (proportional set size)."""
    total = 0
    for pid in pids:
        try:
            text = (PROC / str(pid) / "smaps_rollup").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total / 1024


def machine_busy_s() -> float:
    """CPU seconds that this machine has spent on anything, time stolen by its host included."""
    with (PROC / "stat").open() as lines:
        ticks = [int(word) for word in lines.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS


class CpuMeter:
    """CPU time of one server's processes, the bench's own, and everybody else's, from now on.

    What is foreign is found twice, and the larger counts: what the machine spent and we did not
    (sees processes that came and went; coarse, for the kernel samples it by ticks), and what the
    processes that are still there spent (exact).
    """

    def __init__(self, root: int, mark: str) -> None:
        self._root, self._mark = root, mark
        self._before = {(s.pid, s.started): s.cpu_s for s in all_stats().values()}
        self._client, self._bench = bench_cpu_s()
        self._busy, self._began = machine_busy_s(), time.perf_counter()

    def read(self) -> dict[str, float]:
        """Seconds used by the server; cores used by the server, the client and foreigners."""
        wall, busy = time.perf_counter() - self._began, machine_busy_s() - self._busy
        stats = all_stats()
        ours = family(self._root, self._mark, stats)
        client, bench = bench_cpu_s()
        client, bench = client - self._client, bench - self._bench
        server = sum(self._spent(stat) for stat in ours.values())
        alive = sum(
            self._spent(stat)
            for pid, stat in stats.items()
            if pid not in ours and os.getpid() not in (pid, stat.parent)
        )
        return {
            "server_s": server,
            "server_cores": server / wall,
            "client_cores": client / wall,
            "foreign_cores": max(busy - server - client - bench, alive) / wall,
        }

    def _spent(self, stat: ProcessStat) -> float:
        return stat.cpu_s - self._before.get((stat.pid, stat.started), 0.0)


def bench_cpu_s() -> tuple[float, float]:
    """CPU seconds of the load generators that have ended, and of this process."""
    times = os.times()
    return times.children_user + times.children_system, times.user + times.system
