"""Bodies that are compressed: gzip and deflate, in and out, and bounded."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

from salver.oip.errors import MalformedBodyError, UnsupportedError

__all__ = ("TooLargeError", "compressed", "inflated", "preferred")

_GZIP: Final = 16 + zlib.MAX_WBITS
_DEFLATE: Final = zlib.MAX_WBITS
_LEVEL: Final = 1  # what is sent once is not worth more
_PIECE: Final = 64 * 1024  # what is left behind a member is copied, so it is never much
_MEMBERS: Final = 10_000  # of one gzip body
_SMALL: Final = 1024  # bodies below are sent as they are
_SAMPLE: Final = 16 * 1024
_WORTH: Final = 0.85


class TooLargeError(MalformedBodyError):
    """The body is larger than is let in."""


def inflated(body: bytes | memoryview, coding: str, limit: int) -> bytes:
    """The body without its content codings; TooLargeError as soon as there is more than `limit`."""
    result: bytes | memoryview = body
    for name in reversed([part.strip().lower() for part in coding.split(",")]):
        if name in ("gzip", "x-gzip"):
            result = _inflate(result, _GZIP, name, limit)
        elif name == "deflate":
            # Most who say deflate mean zlib's format, some the bare one.
            bare = len(result) < 2 or (result[0] & 0x0F) != 8 or (result[0] << 8 | result[1]) % 31
            result = _inflate(result, -_DEFLATE if bare else _DEFLATE, name, limit)
        elif name not in ("", "identity"):
            raise UnsupportedError(
                f"content encoding {name[:40]!r} is not known; send gzip, deflate or none"
            )
    return bytes(result)


def _inflate(data: bytes | memoryview, bits: int, name: str, limit: int) -> bytes:
    """A gzip body may be several members, one after the other; deflate is one stream."""
    reader, left = zlib.decompressobj(bits), _MEMBERS if bits == _GZIP else 1
    found, size = [], 0
    for start in range(0, len(data), _PIECE):
        piece = data[start : start + _PIECE]
        while piece:
            if reader.eof:
                left -= 1
                if not left:
                    raise MalformedBodyError(f"the body is no whole {name} stream")
                reader = zlib.decompressobj(bits)
            found.append(_more(reader, piece, name, limit - size + 1))
            size += len(found[-1])
            if size > limit:
                raise TooLargeError(
                    f"the body is longer than {limit} bytes once it is decompressed"
                )
            piece = reader.unused_data
    if not reader.eof:
        raise MalformedBodyError(f"the body is no whole {name} stream")
    return b"".join(found)


def _more(reader: zlib._Decompress, piece: bytes | memoryview, name: str, room: int) -> bytes:
    try:
        return reader.decompress(piece, room)
    except zlib.error as error:
        raise MalformedBodyError(f"the body is no {name}: {error}") from None


def preferred(accepted: str) -> str:
    """The coding to answer in, by an Accept-Encoding header; empty: none."""
    best, coding = 0.0, ""
    for part in accepted.lower().split(","):
        name, _, rest = part.partition(";")
        name = name.strip()
        quality = _quality(rest)
        if name in ("gzip", "deflate") and quality > best:
            best, coding = quality, name
    return coding


def _quality(parameters: str) -> float:
    name, _, value = parameters.partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def compressed(body: bytes, coding: str) -> bytes | None:
    """The body in that coding; None where that is not worth while: numbers rarely are."""
    if len(body) < _SMALL:
        return None
    packer: Callable[[bytes], bytes] = _gzip if coding == "gzip" else _zlib
    if len(body) > 4 * _SAMPLE:
        sample = body[len(body) // 2 :][:_SAMPLE]
        if len(_zlib(sample)) > _WORTH * len(sample):
            return None
    return packer(body)


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()


def _zlib(data: bytes) -> bytes:
    return zlib.compress(data, _LEVEL)
