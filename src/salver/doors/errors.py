"""The one table from errors to HTTP, and the replies that this door renders by itself."""

from __future__ import annotations

import math
import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

import msgspec

from salver.errors import (
    BackPressureError,
    CapacityError,
    ConfigError,
    DeployFailedError,
    DeploymentUnavailableError,
    EngineError,
    EnvironmentFailedError,
    NoMethodError,
    ReplicaDiedError,
    ReplicaUnavailableError,
    RequestCancelledError,
    RequestTimeoutError,
    SalverError,
    TargetError,
    WireError,
    gRPCStatusError,
)

__all__ = ("STATUS_OF", "in_json", "refusal", "render", "say_close", "timed_out")

# A class that is not here is answered as the nearest of its bases that is.
STATUS_OF: Final[dict[type[BaseException], int]] = {
    BackPressureError: 503,  # or the error's own status_code
    RequestCancelledError: 499,
    DeploymentUnavailableError: 503,
    ReplicaUnavailableError: 503,
    ReplicaDiedError: 502,
    RequestTimeoutError: 408,
    DeployFailedError: 503,
    WireError: 502,
    EngineError: 503,
    CapacityError: 503,
    TargetError: 500,
    NoMethodError: 500,
    gRPCStatusError: 500,
    EnvironmentFailedError: 500,
    ConfigError: 500,
    SalverError: 500,
    Exception: 500,
}

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus} | {
    499: "Client Closed Request"
}


def refusal(error: BaseException) -> tuple[int, str, tuple[tuple[str, str], ...]]:
    """The status, the text and the further headers that answer a failed call."""
    status = next((STATUS_OF[c] for c in type(error).__mro__ if c in STATUS_OF), 500)
    if isinstance(error, BackPressureError):
        wait = 1 if error.retry_after_s is None else max(0, math.ceil(error.retry_after_s))
        return error.status_code, error.message, (("Retry-After", str(wait)),)
    if isinstance(error, SalverError):
        return status, str(error), ()
    return status, "Internal Server Error", ()


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
