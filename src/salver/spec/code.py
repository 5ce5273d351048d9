"""Where code is found: by name where every process can import it, else by value."""

from __future__ import annotations

import msgspec

__all__ = ("ImportedCode", "PickledCode")


class ImportedCode(msgspec.Struct, frozen=True, tag="import"):
    """Code that every process can import: it is never pickled."""

    module: str
    qualname: str


class PickledCode(msgspec.Struct, frozen=True, tag="pickle"):
    """Code of a script's `__main__`, a notebook or a closure, by value."""

    data: bytes
