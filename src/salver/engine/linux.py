"""The few kernel calls that the standard library does not offer."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Final

__all__ = ("become_subreaper", "die_with_parent", "set_title")

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
_ARGUMENTS: Final = 48 - 3  # of /proc/self/stat, counted from the state: where they begin and end

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def _call(option: int, value: int | bytes) -> None:
    if _prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}): {os.strerror(code)}")


def die_with_parent(parent: int) -> None:
    """SIGKILL this process when its parent ends, and end now if it has ended already."""
    _call(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def become_subreaper() -> None:
    """Orphaned descendants become children of this process instead of init's."""
    _call(PR_SET_CHILD_SUBREAPER, 1)


def set_title(name: str, title: str) -> None:
    """What this process is called: `name` (15 bytes of it) in `top`, `title` in `ps aux`.

    The latter is the command line, which the process may write over, as far as it reaches.
    """
    _call(PR_SET_NAME, name.encode()[:15])
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[_ARGUMENTS]), int(fields[_ARGUMENTS + 1])
    room = end - begin
    if begin and room > 0:
        ctypes.memmove(begin, title.encode()[: room - 1].ljust(room, b"\0"), room)
