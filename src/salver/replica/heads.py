"""Heads of HTTP/1.1 responses as bytes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from salver.errors import SalverError

__all__ = ("BODILESS", "JSON", "TEXT", "Heads", "RawHeaders")

RawHeaders = Iterable[tuple[bytes, bytes]]

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
BODILESS: Final = frozenset((204, 304, *range(100, 200)))

_is_token: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
# Of this hop and of no other: the replica decides the framing, the ingress the connection.
_FRAMING: Final = frozenset((b"transfer-encoding", b"connection", b"keep-alive"))
_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
    for status in HTTPStatus
    if status >= 200
}


def _status_line(status: int) -> bytes:
    if not 200 <= status <= 999:
        raise SalverError(f"A response's status cannot be {status}: expected 200 to 999.")
    return b"HTTP/1.1 %d \r\n" % status


class Heads:
    """Renders heads; the date is formatted once a second."""

    __slots__ = ("_date", "_expires", "_prefixes")

    def __init__(self) -> None:
        self._expires = 0.0
        self._date = b""
        self._prefixes: dict[bytes, bytes] = {}

    def ok(self, content_type: bytes, length: int, request_id: str, close: bool) -> bytes:
        """The head of a plain 200."""
        now = time.time()
        if now >= self._expires:
            self._tick(now)
        prefix = self._prefixes.get(content_type)
        if prefix is None:
            prefix = self._prefixes[content_type] = (
                b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%bcontent-length: "
                % (content_type, self._date)
            )
        if close:
            return b"%b%d\r\nx-request-id: %b\r\nconnection: close\r\n\r\n" % (
                prefix,
                length,
                request_id.encode("latin-1", "replace"),
            )
        return b"%b%d\r\nx-request-id: %b\r\n\r\n" % (
            prefix,
            length,
            request_id.encode("latin-1", "replace"),
        )

    def any(self, status: int, headers: RawHeaders, request_id: str, extra: bytes) -> bytes:
        """The head with these headers, `extra` (whole lines) and whatever of ours is missing."""
        now = time.time()
        if now >= self._expires:
            self._tick(now)
        line = _STATUS_LINES.get(status) or _status_line(status)
        parts = [line]
        names = set()
        count = 1 + extra.count(b"\n")
        for name, value in headers:
            name = name.lower()
            if name in _FRAMING:
                continue
            names.add(name)
            parts += (name, b": ", value, b"\r\n")
            count += 1
        if wrong := [name for name in names if not _is_token(name)]:
            raise SalverError(f"The name of a response header is no token: {wrong[0]!r}.")
        if b"date" not in names:
            parts.append(self._date)
            count += 1
        if b"x-request-id" not in names:
            parts += (b"x-request-id: ", request_id.encode("latin-1", "replace"), b"\r\n")
            count += 1
        parts += (extra, b"\r\n")
        head = b"".join(parts)
        if head.count(b"\n") != count + 1 or head.count(b"\r") != count + 1 or b"\0" in head:
            raise SalverError(
                f"A response header holds a line break or NUL: {[p for p in parts if p][1:9]!r}. "
                "Header names and values must be on one line."
            )
        return head

    def _tick(self, now: float) -> None:
        self._expires = float(int(now) + 1)
        self._date = f"date: {formatdate(now, usegmt=True)}\r\n".encode()
        self._prefixes.clear()
