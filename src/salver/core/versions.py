"""Which version of a model answers when none is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ("default_version",)

_PARTS = re.compile(r"\d+|\D+")


def default_version(versions: Iterable[str]) -> str:
    """The one without a name, if there is one; else the highest, numbers in it as numbers."""
    known = list(versions)
    return "" if "" in known else max(known, key=_order)


def _order(version: str) -> list[tuple[bool, int, str]]:
    """`v10` comes after `v9`."""
    parts = _PARTS.findall(version)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]
