"""glibc's allocator, told to keep some of what large messages have needed."""

from __future__ import annotations

import ctypes
from typing import Final

__all__ = ("keep_memory",)

# Of mallopt: parameter -> bytes.
_KEPT: Final = {-3: 32 << 20, -1: 64 << 20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def keep_memory() -> None:
    """For a process that copies large messages several times: up to 64 MiB that are free stay.

    To be given new memory for each costs as much as all the rest of a call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, size in _KEPT.items():
            mallopt(parameter, size)
