"""The drop-in spelling: a Ray Serve program says `from salver import serve` and nothing else changes.

These modules only give the public names of Salver the places where such programs look for them.
"""

from __future__ import annotations

from typing import Any

import salver
from salver import *  # noqa: F403

__all__ = salver.__all__  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    return getattr(salver, name)


def __dir__() -> list[str]:
    return dir(salver)
