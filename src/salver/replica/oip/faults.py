"""From errors to HTTP for the inference protocols: every body is theirs; and to gRPC's codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec
from starlette.exceptions import HTTPException

from salver.errors import BackPressureError, RequestTimeoutError, SalverError
from salver.oip.errors import (
    InvalidMessageError,
    InvalidResultError,
    ModelNotFoundError,
    ModelNotReadyError,
    ProtocolError,
    UnsupportedError,
)
from salver.replica.grpc.status import status_of
from salver.replica.heads import JSON
from salver.replica.oip.asks import MethodNotAllowedError, NotFoundError
from salver.replica.oip.coding import TooLargeError
from salver.replica.reply import error_reply
from salver.spec.refusals import wait_s

__all__ = ("STATUS_OF", "body_of", "fault", "grpc_fault")

Headers = list[tuple[bytes, bytes]]

# A class that is not here is answered as the nearest of its bases that is.
STATUS_OF: Final[dict[type[BaseException], int]] = {
    TooLargeError: 413,
    InvalidMessageError: 400,
    ModelNotFoundError: 404,
    NotFoundError: 404,
    MethodNotAllowedError: 405,
    ModelNotReadyError: 503,
    UnsupportedError: 501,
    InvalidResultError: 500,
    ProtocolError: 500,
    RequestTimeoutError: 504,
}

# What user code says by starlette's HTTPException, as gRPC says it.
_CODE_OF_STATUS: Final = {
    400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 413: 8, 422: 3, 429: 8, 499: 1, 501: 12, 503: 14,
    504: 4,
}  # fmt: skip


def grpc_fault(error: BaseException) -> tuple[int, str]:
    """Status code and details of the answer to what went wrong."""
    if isinstance(error, HTTPException):
        return _CODE_OF_STATUS.get(error.status_code, 2), str(error.detail)
    return status_of(error)


def fault(error: BaseException) -> tuple[int, Headers, bytes]:
    """Status, headers and body of the answer to what went wrong."""
    status = next((STATUS_OF[c] for c in type(error).__mro__ if c in STATUS_OF), 0)
    if not status:
        status = error_reply(error)[0]
    return status, [(b"content-type", JSON), *_more(error)], body_of(error)


def body_of(error: BaseException) -> bytes:
    """The protocol's own error body: no traceback, but what is wrong and where."""
    if isinstance(error, SalverError):
        text = str(error)
    elif isinstance(error, HTTPException):
        text = str(error.detail)
    else:
        text = f"{type(error).__name__}: {error}"
    return msgspec.json.encode({"error": text.encode("utf-8", "replace").decode()})


def _more(error: BaseException) -> Iterator[tuple[bytes, bytes]]:
    if isinstance(error, MethodNotAllowedError):
        yield b"allow", error.allowed.encode()
    elif isinstance(error, BackPressureError):
        yield b"retry-after", b"%d" % wait_s(error)
    elif isinstance(error, ModelNotReadyError):
        yield b"retry-after", b"1"
