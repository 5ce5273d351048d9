"""Types that are read in several threads, and so must be known to msgspec before."""

from __future__ import annotations

from typing import TypeVar

import msgspec

__all__ = ("learnt",)

T = TypeVar("T")


def learnt(kind: type[T]) -> type[T]:
    """The same type, which msgspec knows from now on; also a decorator. TypeError: it cannot.

    msgspec learns a type when it first reads one, and lets other threads see what it has only half
    learnt: two threads that read the first ones at the same time end the process by SIGSEGV.
    """
    msgspec.json.Decoder(kind)
    return kind
