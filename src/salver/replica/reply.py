"""Results of HTTP calls by type: whole ones leave as one frame, the rest as a stream."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.responses import Response, StreamingResponse

from salver.errors import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestTimeoutError,
    SalverError,
)
from salver.replica.heads import BODILESS, JSON, TEXT, RawHeaders
from salver.replica.jsonable import encode
from salver.replica.stream import ByteStream
from salver.spec.refusals import refusal
from salver.wire.frames import CLOSE, ERR, HTTP, LARGE, RES
from salver.wire.payload import dump_error

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = (
    "BEHIND",
    "Rendered",
    "error_reply",
    "render",
    "reply_error",
    "send_rendered",
    "send_response",
    "stream_of",
    "streams",
)

_logger: Final = logging.getLogger("salver")
# What a call that was made from here died of is answered as if it were this very call.
BEHIND: Final = (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaUnavailableError,
    RequestTimeoutError,
)
_TEXT: Final = (b"content-type", TEXT)
_INTERNAL: Final = b"Internal Server Error"
_LINES: Final = b"application/x-ndjson"
_RAISED: Final = "The response was cut short by an error in the replica; its log says which."

Rendered = tuple[bytes, bytes | memoryview]  # content type, body
Failure = tuple[int, list[tuple[bytes, bytes]], bytes]


def render(result: Any) -> Rendered | None:
    """Content type and body of a plain result; None for responses, streams and awaitables.

    Needs no loop: `def` handlers have it done in their thread.
    """
    kind = type(result)
    if kind is dict or kind is list:
        return JSON, encode(result)
    if kind is str:
        return TEXT, result.encode()
    if kind is bytes:
        return b"text/plain", result
    if result is None:
        return b"text/plain", b""
    if isinstance(result, Response) or hasattr(kind, "__await__") or _is_stream(result):
        return None
    if isinstance(result, bytearray | memoryview):
        return b"text/plain", bytes(result)
    if isinstance(result, str):
        return TEXT, result.encode()
    return JSON, encode(result)


def _is_stream(result: Any) -> bool:
    return inspect.isgenerator(result) or hasattr(type(result), "__anext__")


def streams(result: Any) -> bool:
    """Whether it is an (async) generator, or an async iterator of another make."""
    return _is_stream(result)


def send_rendered(call: ServedCall, rendered: Rendered) -> None:
    """Answer 200 with it."""
    content_type, body = rendered
    close = call.flags & CLOSE
    head = call.caller.host.heads.ok(content_type, len(body), call.context.request_id, close != 0)
    _send_whole(call, 200, close | HTTP, head, body)


def send_response(
    call: ServedCall, status: int, headers: RawHeaders, body: bytes | memoryview
) -> None:
    """Answer with a whole response that brings its own headers."""
    headers = list(headers)
    close = bool(call.flags & CLOSE)
    extra = b""
    declared = None
    for name, value in headers:
        name = name.lower()
        if name == b"content-length":
            declared = value
        elif name == b"connection" and b"close" in value.lower():
            close = True
    if status in BODILESS:
        if status != 304:
            headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
        body = b""
    elif declared is None:
        extra = b"content-length: %d\r\n" % len(body)
    elif not call.head.startswith(b"HEAD ") and int(declared) != len(body):
        raise SalverError(
            f"The response says content-length: {int(declared)} and has {len(body)} bytes."
        )
    if close:
        extra += b"connection: close\r\n"
    head = call.caller.host.heads.any(status, headers, call.context.request_id, extra)
    _send_whole(call, status, CLOSE | HTTP if close else HTTP, head, body)


def _send_whole(
    call: ServedCall, status: int, flags: int, head: bytes, body: bytes | memoryview
) -> None:
    call.status = status
    if call.head.startswith(b"HEAD "):
        body = b""
    if len(body) < LARGE:
        call.end(RES, flags, head + body)
    else:
        call.end(RES, flags, head, (body,))


async def stream_response(call: ServedCall, response: StreamingResponse) -> None:
    """Drive Starlette's own streaming response without its ASGI messages."""
    stream = ByteStream(call, response.status_code, response.raw_headers)
    charset = response.charset
    if stream.mute:
        stream.finish()
        return
    async for item in response.body_iterator:
        data = item.encode(charset) if isinstance(item, str) else item
        if len(data) < LARGE:
            stream.write(data)
            if stream.full:
                await stream.room()
        else:
            await stream.put(data)
    stream.finish()


async def stream_of(call: ServedCall, items: AsyncIterator[Any]) -> None:
    """Answer with what a generator yields: str and bytes as they are, the rest as lines of JSON.

    The first item decides the content type, and is awaited before the head leaves, so that an
    error before it is still a clean 500.
    """
    try:
        first = await anext(items)
    except StopAsyncIteration:
        send_rendered(call, (TEXT, b""))
        return
    stream = ByteStream(call, 200, ((b"content-type", _type_of(first)),))
    if stream.mute:
        stream.finish()
        return
    await stream.put(_bytes_of(first))
    async for item in items:
        await stream.put(_bytes_of(item))
    stream.finish()


def _type_of(item: Any) -> bytes:
    return TEXT if isinstance(item, str | bytes | bytearray | memoryview) else _LINES


def _bytes_of(item: Any) -> Any:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, bytes | bytearray | memoryview):
        return item
    return encode(item) + b"\n"


def is_plain_response(response: Response) -> bool:
    """Whether status, headers and body say everything that its `__call__` would."""
    return type(response).__call__ is Response.__call__


def is_plain_stream(response: Response) -> bool:
    """Whether its `body_iterator` says everything that its `__call__` would."""
    if not isinstance(response, StreamingResponse):
        return False
    kind = type(response)
    return (
        kind.__call__ is StreamingResponse.__call__
        and kind.stream_response is StreamingResponse.stream_response
    )


# ---- errors


def reply_error(call: ServedCall, error: BaseException) -> None:
    """The reply for what user code raised; cuts the connection when the head is out already."""
    host = call.caller.host
    host.errors += 1
    if call.ended:
        # A 500 is what the app itself made of it, before it raised it on for the log.
        when = "" if call.status == 500 else ", after the response was sent"
        _logger.error("Uncaught exception%s:", when, exc_info=error)
        return
    if call.status:
        _logger.error("Uncaught exception, while the response was sent:", exc_info=error)
        call.end(ERR, 0, dump_error(SalverError(_RAISED)))
        return
    try:
        status, headers, body = error_reply(error)
        send_response(call, status, headers, body)
    except Exception as unfit:  # noqa: BLE001 - what a user's HTTPException says cannot be sent
        status, error = 500, unfit
        send_response(call, status, [_TEXT], _INTERNAL)
    if status == 500:
        _logger.error("Uncaught exception:", exc_info=error)


def error_reply(error: BaseException) -> Failure:
    """Status, headers and body for an exception that reached the host."""
    if isinstance(error, HTTPException):
        return _http_exception(error)
    if isinstance(error, MultiPartException):  # `request.form()` says so of what the client sent
        return 400, [_TEXT], error.message.encode()
    if not isinstance(error, BEHIND):
        return 500, [_TEXT], _INTERNAL
    status, text, more = refusal(error)
    headers = [(name.lower().encode(), value.encode()) for name, value in more]
    return status, [_TEXT, *headers], text.encode()


def _http_exception(error: HTTPException) -> Failure:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in (error.headers or {}).items()
    ]
    if error.status_code in BODILESS:
        return error.status_code, headers, b""
    detail: Any = error.detail  # FastAPI's may be anything
    if isinstance(detail, str):
        return error.status_code, [(b"content-type", TEXT), *headers], detail.encode()
    body = encode({"detail": detail})
    return error.status_code, [(b"content-type", JSON), *headers], body
