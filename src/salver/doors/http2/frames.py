"""HTTP/2's frames as bytes: taken apart and put together. Nothing here knows of connections."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

__all__ = (
    "ACK",
    "BLOCK",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONTINUATION",
    "DATA",
    "END_HEADERS",
    "END_STREAM",
    "ENHANCE_YOUR_CALM",
    "FLOW_CONTROL_ERROR",
    "FRAME",
    "FRAME_SIZE_ERROR",
    "GOAWAY",
    "HEADERS",
    "INTERNAL_ERROR",
    "LONGEST",
    "NO_ERROR",
    "PADDED",
    "PING",
    "PREFACE",
    "PRIORITIZED",
    "PRIORITY",
    "PROTOCOL_ERROR",
    "PUSH_PROMISE",
    "REFUSED_STREAM",
    "RST_STREAM",
    "SETTINGS",
    "STREAM_CLOSED",
    "WINDOW_UPDATE",
    "ConnectionFault",
    "Frame",
    "FrameReader",
    "StreamFault",
    "frame",
    "goaway",
    "read_settings",
    "settings",
    "unpadded",
    "word",
)

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Types of frames.
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

# Flags.
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

# Codes of errors.
NO_ERROR: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2
FLOW_CONTROL_ERROR: Final = 3
STREAM_CLOSED: Final = 5
FRAME_SIZE_ERROR: Final = 6
REFUSED_STREAM: Final = 7
CANCEL: Final = 8
COMPRESSION_ERROR: Final = 9
ENHANCE_YOUR_CALM: Final = 11

LONGEST: Final = 1 << 20  # payload of a frame, as clients are told
BLOCK: Final = 256 << 10
"""Bytes of a header block, over all its frames, and of what it says. What is longer ends the
connection: its table would need it read, and that would hold up the others."""
_WHOLE: Final = BLOCK + 261  # of a frame that is taken as one; before and behind a block: 261
_OF_ONE_SIZE: Final = frozenset((PRIORITY, RST_STREAM, PING, WINDOW_UPDATE))

# length << 8 | type, flags, stream
FRAME: Final = struct.Struct(">IBI")
_SETTING: Final = struct.Struct(">HI")
_SIZE: Final = FRAME.size
_STREAM: Final = 0x7FFFFFFF
_unpack: Final = FRAME.unpack_from

# type, flags, stream, payload, and how many bytes of padding came with it
Frame: TypeAlias = tuple[int, int, int, bytes, int]


class ConnectionFault(Exception):
    """The client has done what ends the connection."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class StreamFault(Exception):
    """The client has done what ends one stream."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class FrameReader:
    """Frames out of bytes, however these are cut.

    A DATA frame comes in as many pieces as arrive, without its padding; the last has its flags. So
    does a long frame of a type that is not known.
    """

    __slots__ = ("_flags", "_kind", "_left", "_padding", "_rest", "_stream", "_within")

    def __init__(self) -> None:
        self._rest = b""  # the beginning of a frame
        self._within = False  # a frame that is passed on and has arrived in part; of it:
        self._kind = DATA
        self._flags = 0
        self._stream = 0
        self._left = 0
        self._padding = 0

    @property
    def waits(self) -> bool:
        """Whether a frame has begun whose other bytes are needed before it can be told."""
        return bool(self._rest)

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames, and pieces of them, that these bytes complete. ConnectionFault."""
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, size = 0, len(data)
        while True:
            if self._within:
                piece, at = self._piece(data, at)
                if piece is not None:
                    yield piece
                if self._within:
                    break
            begin = at + _SIZE
            if begin > size:
                break
            first, flags, stream = _unpack(data, at)
            kind, length = first & 0xFF, first >> 8
            end = begin + length
            if end <= size and length <= _WHOLE and (kind or not flags & PADDED):
                at = end
                yield kind, flags, stream & _STREAM, data[begin:end], 0
            elif length > LONGEST or (0 < kind <= CONTINUATION and length > _WHOLE):
                raise _too_long(kind, length)
            elif 0 < kind <= CONTINUATION or (flags & PADDED and begin == size):
                break
            else:
                self._kind = kind
                at = self._begin(data, begin, length, flags, stream & _STREAM)
        self._rest = data[at:]

    def _begin(self, data: bytes, at: int, length: int, flags: int, stream: int) -> int:
        """A frame that is passed on in pieces; where its bytes begin."""
        self._padding = 0
        if flags & PADDED and self._kind == DATA:
            if not length or data[at] >= length:
                raise ConnectionFault(PROTOCOL_ERROR, "There is more padding than frame.")
            self._padding = data[at] + 1  # the byte that says so, and those behind
            at += 1
        self._within = True
        self._flags, self._stream = flags, stream
        self._left = length - self._padding
        return at

    def _piece(self, data: bytes, at: int) -> tuple[Frame | None, int]:
        """What has arrived of it, if anything, and where that ends."""
        behind = max(self._padding - 1, 0)
        have = min(len(data) - at, self._left)
        end = at + have
        self._left -= have
        if not self._left and len(data) - end >= behind:
            self._within = False
            piece = (self._kind, self._flags, self._stream, data[at:end], self._padding)
            return piece, end + behind
        if not have:
            return None, at
        return (self._kind, 0, self._stream, data[at:end], 0), end


def _too_long(kind: int, length: int) -> ConnectionFault:
    """Up to LONGEST a frame is allowed, and it may still be more than is put up with."""
    allowed = length <= LONGEST and kind not in _OF_ONE_SIZE
    code = ENHANCE_YOUR_CALM if allowed else FRAME_SIZE_ERROR
    return ConnectionFault(code, f"A frame of type {kind} and {length} bytes is too long.")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return FRAME.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(pairs: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in pairs))


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """The pairs of a SETTINGS frame. ConnectionFault."""
    if len(payload) % _SETTING.size:
        raise ConnectionFault(FRAME_SIZE_ERROR, "A SETTINGS frame is cut.")
    return _SETTING.iter_unpack(payload)


def goaway(last: int, code: int, text: str = "") -> bytes:
    """A GOAWAY frame: streams above `last` have not been looked at."""
    return frame(GOAWAY, 0, 0, word(last) + word(code) + text.encode())


def word(number: int) -> bytes:
    """A number of 32 bits."""
    return number.to_bytes(4, "big")


def unpadded(flags: int, payload: bytes) -> bytes:
    """The header block of a HEADERS frame, without padding and priority. ConnectionFault."""
    begin, padding = 0, 0
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(FRAME_SIZE_ERROR, "A HEADERS frame is cut.")
        begin, padding = 1, payload[0]
    if flags & PRIORITIZED:
        begin += 5
    if begin + padding > len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "There is more padding than frame.")
    return payload[begin : len(payload) - padding]
