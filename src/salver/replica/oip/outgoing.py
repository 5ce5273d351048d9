"""Answers that are JSON, or JSON and then the bytes of tensors, or events, as HTTP."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from salver.oip.binary import HEADER
from salver.oip.generate import event
from salver.oip.rest import HttpBody
from salver.replica.heads import JSON
from salver.replica.oip.coding import compressed
from salver.replica.oip.faults import body_of, fault
from salver.replica.reply import send_rendered, send_response
from salver.replica.stream import ByteStream
from salver.wire.frames import CLOSE, HTTP, LARGE, RES

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = ("fail", "send", "send_events")

Headers = Sequence[tuple[bytes, bytes]]

_logger: Final = logging.getLogger("salver")
_EVENTS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
)
_OVER: Final = object()
_BINARY: Final = (b"content-type", b"application/octet-stream")
_LENGTH: Final = HEADER.lower().encode()
_VARY: Final = (b"vary", b"accept-encoding")


def send(call: ServedCall, accepts: str, body: HttpBody, more: Headers = ()) -> None:
    """Answer 200 with it and `more` headers, compressed where the client likes that and it pays."""
    if accepts:
        _send_compressed(call, accepts, body, more)
    elif body.header_length is None and not more:
        send_rendered(call, (JSON, body.text))
    elif body.header_length is None or body.size < LARGE:
        send_response(call, 200, _headers(body, more), body.join())
    else:
        _send_large(call, body, more)


def _headers(body: HttpBody, more: Headers) -> list[tuple[bytes, bytes]]:
    if body.header_length is None:
        return [(b"content-type", JSON), *more]
    return [_BINARY, (_LENGTH, b"%d" % body.header_length), *more]


def _send_compressed(call: ServedCall, coding: str, body: HttpBody, more: Headers) -> None:
    whole = body.join()
    packed = compressed(whole, coding)
    headers = [*_headers(body, more), _VARY]
    if packed is not None:
        headers.append((b"content-encoding", coding.encode()))
    send_response(call, 200, headers, whole if packed is None else packed)


def _send_large(call: ServedCall, body: HttpBody, more: Headers) -> None:
    """The tensors leave from where they lie."""
    close = bool(call.flags & CLOSE)
    extra = b"content-length: %d\r\n" % body.size
    if close:
        extra += b"connection: close\r\n"
    heads = call.caller.host.heads
    head = heads.any(200, _headers(body, more), call.context.request_id, extra)
    call.status = 200
    parts = [memoryview(blob) for blob in body.blobs if len(blob)]
    call.end(RES, HTTP | CLOSE if close else HTTP, head + body.text, parts)


async def send_events(
    call: ServedCall,
    written: Callable[[Any], bytes],
    items: Any,
    failed: Callable[[int], None],
) -> None:
    """The first item is awaited before the head leaves: an error before it has its own status."""
    first = await anext(items, _OVER)
    data = b"" if first is _OVER else event(written(first))
    stream = ByteStream(call, 200, _EVENTS)
    if stream.mute:
        stream.finish()
        return
    await stream.put(data)
    try:
        async for item in items:
            await stream.put(event(written(item)))
    except Exception as error:
        _logger.error("Uncaught exception, while a stream was sent:", exc_info=error)
        failed(0)
        await stream.put(event(body_of(error)))
    stream.finish()


def fail(call: ServedCall, error: BaseException) -> None:
    """Answer with the error, in the protocol's own body."""
    if isinstance(error, BaseExceptionGroup):  # of several rows the first tells enough
        error = error.exceptions[0]
    if call.cancelled or call.ended:
        call.finish()
        return
    status, headers, body = fault(error)
    if status >= 500 and status != 501:
        call.caller.host.errors += 1
        _logger.error("Uncaught exception:", exc_info=error)
    send_response(call, status, headers, body)
