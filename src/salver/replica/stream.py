"""Replies that leave in pieces: framed for HTTP/1.1 here, sent as the caller takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from salver.errors import SalverError
from salver.replica.heads import BODILESS, RawHeaders
from salver.wire.frames import CHUNK, CLOSE, END, HTTP, LARGE, RES, STREAM, chunk_cost

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = ("ByteStream", "Bytes")

Bytes = bytes | bytearray | memoryview

_PIECE: Final = 1024 * 1024
_GATHER: Final = 64  # pieces that wait for the end of a loop tick, at most


class ByteStream:
    """The reply of one HTTP call, once it is known not to be there as a whole.

    The head leaves with the first bytes, at once, or by itself if none come in the same tick of the
    loop; what follows in a tick leaves together at its end, as one frame.
    """

    __slots__ = ("_call", "_chunked", "_close", "_gathering", "_left", "_parts", "_status", "mute")

    def __init__(self, call: ServedCall, status: int, headers: RawHeaders) -> None:
        """Make the head. The framing follows the client's version and the declared length."""
        headers = list(headers)
        self._call = call
        self._left = _declared_length(headers)
        self._close = bool(call.flags & CLOSE) or _asks_to_close(headers)
        self.mute = call.head.startswith(b"HEAD ") or status in BODILESS
        self._status = status  # 0: the head has left
        framed = self._left is not None or status in BODILESS
        self._chunked = not framed and not _speaks_http_1_0(call.head)
        extra = b""
        if self._chunked:
            extra = b"transfer-encoding: chunked\r\n"
        elif not framed:
            self._close = True
        if self._close:
            extra += b"connection: close\r\n"
        heads = call.caller.host.heads
        self._parts: list[Bytes] = [heads.any(status, headers, call.context.request_id, extra)]
        self._gathering = True
        call.outlet = self
        call.caller.host.loop.call_soon(self._tick)

    # `mute`: the client gets no body (HEAD, 204, 304), so there is no point in making one.

    @property
    def full(self) -> bool:
        """Whether to wait for `room` before the next write."""
        return self._call.blocked or len(self._parts) > 3 * _GATHER

    async def room(self) -> None:
        """Wait until the client has taken enough of what was written."""
        await self._call.room()
        self._flush()

    def write(self, data: Bytes) -> None:
        """Some bytes of the body, fewer than LARGE."""
        size = len(data)
        if not self._counts(size):
            return
        if type(data) is not bytes:  # it may change before the tick is over
            data = bytes(data)
        parts = self._parts
        if self._chunked:
            parts += (b"%x\r\n" % size, data, b"\r\n")
        else:
            parts.append(data)
        if self._status:
            self._flush()
            self._call.caller.conn.hurry()
        elif not self._gathering:
            self._flush()
            self._gathering = True
            self._call.caller.host.loop.call_soon(self._tick)
        elif len(parts) >= 3 * _GATHER and not self._call.blocked:
            self._flush()

    async def put(self, data: Bytes) -> None:
        """Write any number of bytes, as the client takes them."""
        if len(data) < LARGE:
            self.write(data)
            if self.full:
                await self.room()
        elif self._counts(len(data)):
            await self._put_large(memoryview(data).cast("B"))

    def finish(self) -> None:
        """The body is complete."""
        if self._left and not self.mute:
            raise SalverError(
                f"The response is shorter than its content-length, by {self._left} bytes."
            )
        if self._chunked and not self.mute:
            self._parts.append(b"0\r\n\r\n")
        self._flush()
        self._call.end(END, HTTP | CLOSE if self._close else HTTP, b"")

    def refilled(self) -> None:
        """The caller takes more: send what has been gathered."""
        call = self._call
        if self._parts and not (call.ended or call.cancelled or call.blocked):
            self._flush()

    def _tick(self) -> None:
        self._gathering = False
        self.refilled()

    def _counts(self, size: int) -> bool:
        """Whether these bytes are to be sent."""
        if not size or self.mute:
            return False
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise SalverError("The response is longer than its content-length.")
        return True

    def _flush(self) -> None:
        parts, call = self._parts, self._call
        if parts:
            data = b"".join(parts)
            parts.clear()
            kind, flags = self._frame(len(data))
            call.caller.conn.send(kind, flags, 0, call.call_id, data)

    def _frame(self, size: int) -> tuple[int, int]:
        """Type and flags of the next frame; of a chunk, so much credit is spent."""
        call = self._call
        if self._status:
            call.status, self._status = self._status, 0
            return RES, HTTP | STREAM
        call.credit -= chunk_cost(size)
        return CHUNK, HTTP

    async def _put_large(self, view: memoryview) -> None:
        call = self._call
        for start in range(0, len(view), _PIECE):
            if call.blocked:
                await call.room()
            piece = view[start : start + _PIECE]
            if self._chunked:
                self._parts.append(b"%x\r\n" % len(piece))
            inline = b"".join(self._parts)
            self._parts.clear()
            kind, flags = self._frame(len(inline) + len(piece))
            call.caller.conn.send_parts(kind, flags, 0, call.call_id, inline, (piece,))
            if self._chunked:
                self._parts.append(b"\r\n")
        self._flush()


def _declared_length(headers: RawHeaders) -> int | None:
    for name, value in headers:
        if name.lower() == b"content-length":
            return int(value)
    return None


def _asks_to_close(headers: RawHeaders) -> bool:
    return any(k.lower() == b"connection" and b"close" in v.lower() for k, v in headers)


def _speaks_http_1_0(head: bytes) -> bool:
    return head[: head.find(b"\r\n")].endswith(b"HTTP/1.0")
