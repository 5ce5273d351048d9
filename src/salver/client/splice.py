"""The arguments of a call as bytes, with the undecoded results of other calls among them."""

from __future__ import annotations

from typing import Any

from salver.wire.payload import Segments

__all__ = ("decode_call",)


def decode_call(payload: bytes | Segments) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The (args, kwargs) of a REQ frame (without its meta)."""
    raise NotImplementedError
