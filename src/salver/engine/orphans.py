"""Processes that users' code started and left behind: found in /proc, ended with who made them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from salver.engine.process import INSTANCE_VARIABLE, PROCESS_VARIABLE

__all__ = ("adopted", "end_adopted", "maker_of", "sweep")


def adopted(known: set[int]) -> list[int]:
    """Children of this process that it did not fork itself: a subreaper inherits them."""
    pid = os.getpid()
    try:
        children = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        children = [child for child in _pids() if _stat(child)[1:2] == [str(pid)]]
    return [child for child in children if child not in known]


def maker_of(pid: int, pipes: dict[int, str]) -> str:
    """The id of the process that this one descends from: by its environment or its output."""
    for fd in (1, 2):
        with suppress(OSError):
            target = os.stat(f"/proc/{pid}/fd/{fd}")  # noqa: PTH116 - not a path of the file system
            if target.st_ino in pipes:
                return pipes[target.st_ino]
    with suppress(OSError):
        for pair in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = pair.partition(b"=")
            if name == PROCESS_VARIABLE.encode():
                return value.decode(errors="replace")
    return ""


def end_adopted(known: set[int], living: set[str], pipes: dict[int, str]) -> None:
    """SIGKILL every orphan whose maker is not among the living."""
    for pid in adopted(known):
        if maker_of(pid, pipes) not in living:
            _kill(pid)


def sweep(instance: str, session: int = -1) -> None:
    """SIGKILL what is left of an instance whose keeper died before it could clean up.

    `session`: that of the keeper, while its number cannot be another's.
    """
    tag = f"{INSTANCE_VARIABLE}={instance}".encode()
    for pid in _pids():
        if pid in (os.getpid(), session):
            continue
        with suppress(OSError):
            stat = _stat(pid)
            ours = stat[3:4] == [str(session)]
            if ours or tag in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                _kill(pid)


def _pids() -> Iterator[int]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            yield int(entry.name)


def _stat(pid: int) -> list[str]:
    """State, parent, group, session, ... of /proc/<pid>/stat."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
