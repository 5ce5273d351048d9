"""The arguments of a call as bytes, with the undecoded results of other calls among them.

A plain call's payload is a pickle, which begins with 0x80. A spliced one begins with 0x01, then

    parts u32, (length u32, buffers u32) of each, the parts' bytes; their buffers follow in order

The first part is the pickle of (args, kwargs, places): `places` pairs each argument that is a
result (its position or its name) with the part that holds it. So results travel from the replica
that made them to the one that uses them without being decoded in between.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from salver.wire.payload import Segments, loads

__all__ = ("Encoded", "decode_call", "splice")

# Pickled bytes and the buffers that were left out of them.
Encoded = tuple[bytes, list[memoryview]]

_PICKLE: Final = 0x80
_SPLICED: Final = b"\x01"
_COUNT: Final = struct.Struct("<I")
_PART: Final = struct.Struct("<II")


def splice(parts: Sequence[Encoded]) -> Encoded:
    """One payload of the first part, pickled (args, kwargs, places), and the results after it."""
    table = b"".join(_PART.pack(len(inline), len(buffers)) for inline, buffers in parts)
    inlines = [inline for inline, _ in parts]
    buffers = [buffer for _, buffers in parts for buffer in buffers]
    return b"".join((_SPLICED, _COUNT.pack(len(parts)), table, *inlines)), buffers


def decode_call(payload: bytes | Segments) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The (args, kwargs) of a REQ frame's payload (without its meta)."""
    inline = payload if isinstance(payload, bytes) else payload.inline
    if inline[0] == _PICKLE:
        call: tuple[tuple[Any, ...], dict[str, Any]] = loads(payload)
        return call
    buffers = [] if isinstance(payload, bytes) else payload.buffers
    (args, kwargs, places), *results = (loads(part) for part in _parts(inline, buffers))
    filled = list(args)
    for place, index in places:
        if type(place) is int:
            filled[place] = results[index]
        else:
            kwargs[place] = results[index]
    return tuple(filled), kwargs


def _parts(inline: bytes, buffers: list[memoryview]) -> list[bytes | Segments]:
    (count,) = _COUNT.unpack_from(inline, 1)
    at = 1 + _COUNT.size + count * _PART.size
    taken = 0
    parts: list[bytes | Segments] = []
    for length, held in _PART.iter_unpack(inline[1 + _COUNT.size : at]):
        part = inline[at : at + length]
        parts.append(Segments(part, buffers[taken : taken + held]) if held else part)
        at += length
        taken += held
    return parts
