"""The payloads of gRPC calls: a message as the client sent it, and behind which words it stands.

REQ    length u32, messages.CallHead, the message (none where messages come in a stream)
RES    the message; flagged META: length u32, messages.CallTail, the message if there is one
CHUNK  one message of a stream, either way; END: there are no more
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgspec

from salver.wire.messages import CallHead, CallTail
from salver.wire.payload import Segments

__all__ = ("join_head", "join_tail", "read_head", "read_tail", "split", "whole")

_LENGTH: Final = struct.Struct("<I")
_encode: Final = msgspec.msgpack.Encoder().encode
_read_head: Final = msgspec.msgpack.Decoder(CallHead).decode
_read_tail: Final = msgspec.msgpack.Decoder(CallTail).decode


def join_head(metadata: Any, peer: str) -> bytes:
    """What precedes a request's message."""
    return _prefixed(_encode((metadata, peer)))


def join_tail(tail: CallTail) -> bytes:
    """What precedes a reply's message, flagged META."""
    return _prefixed(_encode(tail))


def read_head(data: bytes) -> CallHead:
    """What `join_head` was given."""
    return _read_head(data)


def read_tail(data: bytes) -> CallTail:
    """What `join_tail` was given."""
    return _read_tail(data)


def split(payload: bytes | Segments) -> tuple[bytes, bytes | memoryview]:
    """The words in front, not read yet, and the message behind them."""
    inline = payload if isinstance(payload, bytes) else payload.inline
    end = 4 + int.from_bytes(inline[:4], "little")
    rest = inline[end:]
    if isinstance(payload, bytes) or not payload.buffers:
        return inline[4:end], rest
    return inline[4:end], whole(Segments(rest, payload.buffers))


def whole(payload: bytes | Segments) -> bytes | memoryview:
    """A message in one piece; where it lies in shared memory, it stays there."""
    if isinstance(payload, bytes):
        return payload
    if len(payload.buffers) == 1 and not payload.inline:
        return payload.buffers[0]
    return b"".join((payload.inline, *payload.buffers))


def _prefixed(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body
