"""The drop-in spelling: a Ray Serve program says `from salver import serve`, and that is all.

These modules only give the public names of Salver the places where such programs look for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import salver

if TYPE_CHECKING:
    from salver import *  # noqa: F403
    from salver.api import _run, shutdown_async

__all__ = (*salver.__all__, "_run", "shutdown_async")


def __getattr__(name: str) -> Any:
    own = name in ("_run", "shutdown_async")
    return getattr(import_module("salver.api") if own else salver, name)


def __dir__() -> list[str]:
    return list(__all__)
