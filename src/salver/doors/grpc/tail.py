"""How a gRPC answer begins and ends: header blocks, with status and metadata."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote_from_bytes

from salver.doors.grpc.messages import ENCODINGS
from salver.doors.http2.headers import indexed, literal
from salver.replica.grpc.status import OK, cut

__all__ = ("BEGINNING", "OK_TAIL", "beginning", "refusal", "tail")

_STATUS_200: Final = 8  # in HPACK's static table
_PLAIN: Final = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")

BEGINNING: Final = (
    indexed(_STATUS_200)
    + literal(b"content-type", b"application/grpc")
    + literal(b"grpc-accept-encoding", ",".join(ENCODINGS).encode())
)
OK_TAIL: Final = literal(b"grpc-status", b"0")


def beginning(encoding: str) -> bytes:
    """The head of an answer."""
    return BEGINNING + literal(b"grpc-encoding", encoding.encode()) if encoding else BEGINNING


def tail(code: int, details: str, metadata: Iterable[tuple[str, Any]] = ()) -> bytes:
    """The trailers: status, what it says, trailing metadata."""
    block = OK_TAIL if code == OK else literal(b"grpc-status", str(code).encode())
    if details:
        text = cut(details).encode("utf-8", "replace")
        block += literal(b"grpc-message", quote_from_bytes(text, _PLAIN).encode())
    for key, value in metadata:
        block += literal(key.encode(), _written(key, value))
    return block


def refusal(status: int) -> bytes:
    """The whole answer to what is no gRPC request: HTTP's status."""
    return literal(b":status", str(status).encode())


def _written(key: str, value: Any) -> bytes:
    if key.endswith("-bin"):
        return b64encode(value).rstrip(b"=")
    return value.encode() if isinstance(value, str) else bytes(value)
