"""Where code is found: by name where every process can import it, else by value."""

from __future__ import annotations

import hashlib

import msgspec

__all__ = ("ImportedCode", "PickledCode", "digest")


class ImportedCode(msgspec.Struct, frozen=True, tag="import"):
    """Code that every process can import: it is never pickled."""

    module: str
    qualname: str


class PickledCode(msgspec.Struct, frozen=True, tag="pickle"):
    """Code of a script's `__main__`, a notebook or a closure, by value."""

    data: bytes


def digest(value: object) -> str:
    """A short name for what msgpack can write: the same for the same, another for another."""
    written = msgspec.msgpack.encode(value, order="deterministic")
    return hashlib.sha256(written).hexdigest()[:16]
