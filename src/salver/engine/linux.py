"""The few kernel calls that the standard library does not offer."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

__all__ = ("become_subreaper", "die_with_parent", "set_comm")

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36

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


def set_comm(name: str) -> None:
    """The name that `ps` and `top` show; the kernel keeps 15 bytes."""
    _call(PR_SET_NAME, name.encode()[:15])
