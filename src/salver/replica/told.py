"""What went wrong in users' code, in words: what reaches people when a replica does not start."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

__all__ = ("told",)

_OURS: Final = Path(__file__).parents[1]


def told(error: BaseException) -> str:
    """For people: the traceback from their code on, without the way that led there."""
    trace = error.__traceback__
    while trace is not None and Path(trace.tb_frame.f_code.co_filename).is_relative_to(_OURS):
        trace = trace.tb_next
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()
