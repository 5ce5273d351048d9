"""A strict reader of chunked bodies: bytes in, body bytes out, no I/O."""

from __future__ import annotations

import re
from typing import Final

__all__ = ("ChunkedDecoder", "ChunkedError")

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e\x80-\xff]*+)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+")
_HEX: Final = b"0123456789abcdefABCDEF"
_LINE_LIMIT: Final = 256  # of a size line, its extension included
_EXTENSIONS_LIMIT: Final = 16 * 1024  # of all extensions of a body
_TRAILERS_LIMIT: Final = 8 * 1024  # of all trailers of a body, which are read and dropped

_SIZE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class ChunkedError(Exception):
    """The framing is wrong; nothing after this point of the connection can be trusted."""


class ChunkedDecoder:
    """Feed it what arrives; `done` says that the body is complete, `rest` is what follows it."""

    __slots__ = ("_extensions", "_left", "_line", "_state", "_trailers", "rest")

    def __init__(self) -> None:
        self._state = _SIZE
        self._left = 0  # bytes of the current chunk that are still to come
        self._line = b""  # start of a line that is not complete
        self._extensions = 0
        self._trailers = 0
        self.rest = b""

    @property
    def done(self) -> bool:
        return self._state == _DONE

    def feed(self, data: bytes) -> bytes:
        """Return the body bytes in `data`; raise ChunkedError when the framing is wrong."""
        pieces: list[bytes] = []
        at, end = 0, len(data)
        while at < end:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                pieces.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _DATA_END
            elif self._state == _DONE:
                self.rest += data[at:]
                break
            else:
                at = self._read_line(data, at)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_line(self, data: bytes, at: int) -> int:
        """Take one line, or keep the start of one; return where to read on."""
        stop = data.find(b"\n", at)
        line = self._line + (data[at:] if stop < 0 else data[at : stop + 1])
        if len(line) > self._limit():
            if self._state == _DATA_END:
                raise ChunkedError("A chunk is longer than it said.")
            raise ChunkedError("A line between two chunks is too long.")
        if stop < 0:
            if not self._may_become_right(line):
                raise ChunkedError("What should be a line between two chunks is none.")
            self._line = line
            return len(data)
        self._line = b""
        if not line.endswith(b"\r\n"):
            raise ChunkedError("A line between two chunks does not end in CRLF.")
        self._take(line[:-2])
        return stop + 1

    def _may_become_right(self, start: bytes) -> bool:
        if self._state == _DATA_END:
            return start == b"\r"
        if self._state == _SIZE and start[0] not in _HEX:
            return False
        return b"\r" not in start[:-1] and b"\0" not in start

    def _limit(self) -> int:
        if self._state == _DATA_END:
            return 2
        return _TRAILERS_LIMIT - self._trailers if self._state == _TRAILERS else _LINE_LIMIT

    def _take(self, line: bytes) -> None:
        if self._state == _SIZE:
            self._take_size(line)
        elif self._state == _DATA_END:
            if line:
                raise ChunkedError("A chunk is longer than it said.")
            self._state = _SIZE
        elif not line:
            self._state = _DONE
        else:
            self._trailers += len(line) + 2
            if _TRAILER.fullmatch(line) is None:
                raise ChunkedError("Invalid trailer.")

    def _take_size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise ChunkedError("Invalid chunk size.")
        self._extensions += len(line) - match.end(1)
        if self._extensions > _EXTENSIONS_LIMIT:
            raise ChunkedError("Chunk extensions are too long.")
        self._left = int(match[1], 16)
        self._state = _DATA if self._left else _TRAILERS
