"""Where runtime directories lie, for those who make, find and clear them away."""

from __future__ import annotations

import os
import tempfile
from typing import Final

__all__ = ("PREFIX", "runtimes")

PREFIX: Final = "salver-"
_LONGEST: Final = 107 - len("/salver-12345678/control-or-r-of-a-replica.sock")
_SHORT: Final = "/tmp"  # noqa: S108 - directories there are made with mode 0700


def runtimes() -> str:
    """The temporary directory; `/tmp`, where paths in that are too long for Unix sockets."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) <= _LONGEST else _SHORT
