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

__all__ = ("MARK", "Snapshot", "no_leaks", "snapshot")

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


def snapshot() -> Snapshot:
    """What is there now."""
    return Snapshot(_processes(), frozenset(threading.enumerate()), _descriptors())


@contextmanager
def no_leaks() -> Iterator[None]:
    """Fail with a list when the block leaves more processes, threads or descriptors than it found.

    What is just ending is given the time that it takes on a busy machine.
    """
    uvloop.new_event_loop().close()  # libuv opens a pipe with its first loop, and keeps it
    before = snapshot()
    yield
    left = [*_processes_left(before), *_threads_left(before), *_descriptors_left(before)]
    if left:
        raise AssertionError("left behind: " + "; ".join(left))


def _processes() -> frozenset[int]:
    mark = f"{MARK}={os.getpid()}".encode()
    found = {child.pid for child in psutil.Process().children(recursive=True)}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if mark in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return frozenset(found - {os.getpid()})


def _descriptors() -> frozenset[tuple[int, str]]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            target = str(path.readlink())
            if target.startswith(_KINDS):
                found.add((int(path.name), target))
    return frozenset(found)


def _processes_left(before: Snapshot) -> list[str]:
    new = []
    for pid in _processes() - before.processes:
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
