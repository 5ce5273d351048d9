"""What a piece of code left behind: processes, threads, open descriptors."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

__all__ = ("MARK", "Census", "Snapshot", "no_leaks", "snapshot")

_PATIENCE_S = 30.0
_PAUSE_S = 0.01  # before another look at descriptors, of whose end nothing tells
_KINDS = ("socket:", "pipe:", "anon_inode:", "/memfd:")
# Set to this process id in the environment, it lets orphans be found too.
MARK = "SALVER_LEAK_MARK"


@dataclass(frozen=True)
class Snapshot:
    """What is there at one moment."""

    processes: frozenset[int]
    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[int, str]]


class Census:
    """Finds the processes that descend from this one, and those with its mark.

    It looks at each only once, as whoever is a stranger stays one: thousands of tests that share a
    census save minutes.
    """

    def __init__(self) -> None:
        self._ours: set[int] = set()
        self._strangers: set[int] = set()

    def take(self) -> frozenset[int]:
        """Those that are there now."""
        here = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()}
        self._ours &= here
        self._strangers &= here
        parents, found = {}, set()
        for pid in here - self._ours - self._strangers - {os.getpid()}:
            with suppress(OSError):  # it has gone
                parents[pid] = _parent(pid)
                if _is_marked(pid):
                    found.add(pid)
        known = {os.getpid()} | self._ours
        while more := {pid for pid in parents if parents[pid] in known | found} - found:
            found |= more
        self._ours |= found
        self._strangers |= parents.keys() - found
        return frozenset(self._ours)


def snapshot(census: Census | None = None) -> Snapshot:
    """What is there now."""
    processes = (census or Census()).take()
    return Snapshot(processes, frozenset(threading.enumerate()), _descriptors())


@contextmanager
def no_leaks(census: Census | None = None) -> Iterator[None]:
    """Fail with a list when the block leaves more processes, threads or descriptors than it found.

    What is just ending is given the time that it takes on a busy machine.
    """
    uvloop.new_event_loop().close()  # libuv opens a pipe with its first loop, and keeps it
    census = census or Census()
    before = snapshot(census)
    yield
    processes = census.take() - before.processes
    left = [*_still_alive(processes), *_threads_left(before), *_descriptors_left(before)]
    if left:
        raise AssertionError("left behind: " + "; ".join(left))


def _parent(pid: int) -> int:
    after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
    return int(after_name.split()[1])


def _is_marked(pid: int) -> bool:
    mark = f"{MARK}={os.getpid()}".encode()
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except PermissionError:  # somebody else's
        return False


def _descriptors() -> frozenset[tuple[int, str]]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            target = str(path.readlink())
            if target.startswith(_KINDS):
                found.add((int(path.name), target))
    return frozenset(found)


def _still_alive(pids: frozenset[int]) -> list[str]:
    new = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            new.append(psutil.Process(pid))
    _, alive = psutil.wait_procs(new, timeout=_PATIENCE_S)
    left = []
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            left.append(f"process {process.pid} {' '.join(process.cmdline())!r}")
    return left


def _threads_left(before: Snapshot) -> list[str]:
    left = []
    for thread in set(threading.enumerate()) - before.threads:
        thread.join(_PATIENCE_S)
        if thread.is_alive():
            left.append(f"thread {thread.name!r}")
    return left


def _descriptors_left(before: Snapshot) -> list[str]:
    end = time.monotonic() + _PATIENCE_S
    while left := _descriptors() - before.descriptors:
        gc.collect()
        if time.monotonic() > end:
            break
        time.sleep(_PAUSE_S)
    return [f"descriptor {fd} {target}" for fd, target in left]
