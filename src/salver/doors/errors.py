"""The replies that this door renders by itself."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import msgspec

__all__ = ("in_json", "render", "say_close", "timed_out")

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {
    499: "Client Closed Request"
}


def in_json(text: str) -> str:
    """The text as the inference protocols' own error."""
    return msgspec.json.encode({"error": text}).decode()


def timed_out(request_id: str, limit_s: float) -> str:
    """The text of a 408."""
    return f"Request {request_id} timed out after {limit_s:g}s."


def render(
    status: int,
    text: str,
    request_id: str,
    *,
    close: bool = False,
    bodiless: bool = False,
    content_type: str = "text/plain; charset=utf-8",
    more: tuple[tuple[str, str], ...] = (),
) -> bytes:
    """A whole reply. `bodiless`: the request was HEAD, so the body is only announced."""
    body = text.encode()
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, '')}",
        f"date: {formatdate(time.time(), usegmt=True)}",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        f"X-Request-ID: {request_id}",
        *(f"{name}: {value}" for name, value in more),
    ]
    if close:
        lines.append("connection: close")
    head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
    return head if bodiless else head + body


def say_close(reply: bytes) -> bytes:
    """A rendered reply that says that the connection ends after it."""
    head, separator, body = reply.partition(b"\r\n\r\n")
    if b"\r\nconnection: close" in head.lower():
        return reply
    return head + b"\r\nconnection: close" + separator + body
