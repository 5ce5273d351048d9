"""What a client's frames make of its connection: streams begin, get their bytes, and end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from salver.doors.http2.connection import CONNECTION_WINDOW, FIRST_WINDOW
from salver.doors.http2.control import FRAME_SIZE, LIST_SIZE, STREAMS, WINDOW_SIZE, Control
from salver.doors.http2.frames import (
    BLOCK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    INTERNAL_ERROR,
    LONGEST,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    ConnectionFault,
    FrameReader,
    StreamFault,
    frame,
    settings,
    unpadded,
    word,
)
from salver.doors.http2.headers import HEADER_LIST, HeadReader
from salver.doors.http2.stream import WINDOW

if TYPE_CHECKING:
    from salver.doors.http2.server import Http2Server

__all__ = ("Http2Protocol",)

_logger: Final = logging.getLogger("salver.ingress")

_MOST_STREAMS: Final = 4096  # of one connection at a time
_GREETING: Final = settings(
    (
        (STREAMS, _MOST_STREAMS),
        (WINDOW_SIZE, WINDOW),
        (FRAME_SIZE, LONGEST),
        (LIST_SIZE, HEADER_LIST),
    )
) + frame(WINDOW_UPDATE, 0, 0, word(CONNECTION_WINDOW - FIRST_WINDOW))
_WAIT_S: Final = 20.0
"""For the preface, and for the rest of anything but a stream's body."""
_NOT_HTTP2: Final = (
    b"This port speaks gRPC: HTTP/2, without an upgrade from HTTP/1.1. The HTTP door has another.\n"
)


class Http2Protocol(Control):
    """What the loop is given for each client."""

    __slots__ = (
        "_block", "_block_flags", "_block_id", "_heads", "_preface", "_reader",
    )  # fmt: skip

    def __init__(self, server: Http2Server) -> None:
        Control.__init__(self, server)
        self._reader = FrameReader()
        self._preface = b""
        self._block: bytearray | None = None  # of headers whose other frames are awaited
        self._block_flags = 0
        self._block_id = 0

    # ---- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=1 << 20)
        if not self.server.opened(self):
            self.closing = True
            self.transport.abort()  # to a client of grpc's, a word would be a reason to come again
            return
        self._heads: HeadReader[Any] = HeadReader(
            self.server.parser(transport.get_extra_info("peername"))
        )
        self.wait(_WAIT_S)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self.server.scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self.closing:
            self.drop(nbytes)
            return
        data = self.server.scratch[:nbytes].tobytes()
        try:
            if self._preface is not PREFACE:
                data = self._read_preface(data)
            if data:
                self._read(data)
        except ConnectionFault as fault:
            self.fail(fault)
        except Exception:
            _logger.exception("A client's frames could not be obeyed:")
            self.fail(ConnectionFault(INTERNAL_ERROR, "Internal error."))

    def _read(self, data: bytes) -> None:
        kind = -1
        for kind, flags, number, payload, padding in self._reader.read(data):
            if kind == DATA and self._block is None:
                self._data(flags, number, payload, padding)
            elif kind == HEADERS and flags & END_HEADERS and self._block is None:
                self._headers(flags, number, unpadded(flags, payload) if flags & 0x28 else payload)
            else:
                self._rare(kind, flags, number, payload)
            if self.closing:
                return
        if self._reader.waits or self._block is not None:
            if not self.deadline or (kind >= 0 and self._block is None):
                self.wait(_WAIT_S)
        elif self.greeted:
            self.deadline = 0.0

    def _read_preface(self, data: bytes) -> bytes:
        """What follows the preface; empty: that has not come whole yet."""
        data = self._preface + data
        begun = data[: len(PREFACE)]
        if not PREFACE.startswith(begun):
            self._answer_http1() if data[:1].isalpha() else self.transport.abort()
            return b""
        if begun == PREFACE:
            self._preface = PREFACE
            self.write(_GREETING)
            self.open = True
            if self.leaving:
                self.leave()
        else:
            self._preface = begun
        return data[len(PREFACE) :]

    def _answer_http1(self) -> None:
        head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n"
        self.write(f"{head}content-length: {len(_NOT_HTTP2)}\r\n\r\n".encode() + _NOT_HTTP2)
        self.part()

    # ---- requests

    def _headers(self, flags: int, number: int, block: bytes) -> None:
        """A whole header block: a stream begins, or its client's trailers are there."""
        if number <= self.last_id or self.draining:
            self._headers_of_none(flags, number, block)
            return
        if not number & 1 or not self.greeted:
            raise ConnectionFault(PROTOCOL_ERROR, f"Stream {number} cannot begin here.")
        try:
            head = self._heads.read(block)
        except StreamFault as fault:
            self.last_id = number
            self.reset(number, fault.code)
            return
        self.last_id = number
        if len(self.streams) >= _MOST_STREAMS:
            self.reset(number, REFUSED_STREAM)
            return
        stream = self.streams[number] = self.server.stream(self, number, head)
        if flags & END_STREAM:
            stream.heard_all = True
        stream.opened()
        if flags & END_STREAM and not stream.over:
            stream.ended()

    def _headers_of_none(self, flags: int, number: int, block: bytes) -> None:
        """Headers that begin no stream: trailers, or what came too late."""
        if not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, f"Stream {number} cannot begin here.")
        begins = self._heads.begins(block)
        stream = self.streams.get(number)
        if stream is None:
            self.patience.strain()
            if number > self.last_id:
                self.reset(number, REFUSED_STREAM)
            elif begins:
                raise ConnectionFault(PROTOCOL_ERROR, f"Stream {number} cannot begin any more.")
            elif flags & END_STREAM:
                self.heard(number)
        elif stream.heard_all or begins or not flags & END_STREAM:
            self.break_off(stream, STREAM_CLOSED if stream.heard_all else PROTOCOL_ERROR)
        else:
            stream.heard_all = True
            stream.ended()

    def _data(self, flags: int, number: int, payload: bytes, padding: int) -> None:
        size = len(payload) + padding
        self.room -= size
        if self.room < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "More than the connection's window.")
        stream = self.streams.get(number)
        if stream is None:
            self._data_of_none(flags, number, size)
            return
        if stream.heard_all:
            self.took(size)
            self.break_off(stream, STREAM_CLOSED)
            return
        stream.room -= size
        if stream.room < 0:
            self.took(size)
            self.break_off(stream, FLOW_CONTROL_ERROR)
            return
        if flags & END_STREAM:
            stream.heard_all = True
        elif not payload:
            self.patience.strain()
        if padding:
            stream.took(padding)
        if payload:
            stream.data(payload)
        if flags & END_STREAM and not stream.over:
            stream.ended()

    def _data_of_none(self, flags: int, number: int, size: int) -> None:
        """Data that nobody wants any more."""
        self.known(number)
        self.patience.strain()
        self.took(size)
        if flags & END_STREAM:
            self.heard(number)

    # ---- everything else

    def _rare(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None or kind == CONTINUATION:
            self._continue(kind, flags, number, payload)
        elif kind == HEADERS:
            self._block = bytearray(unpadded(flags, payload))
            self._block_flags, self._block_id = flags, number
        elif not self.greeted and kind != SETTINGS:
            raise ConnectionFault(PROTOCOL_ERROR, "The first frame is to be SETTINGS.")
        else:
            obey = self.rules.get(kind)
            if obey is None:  # an extension that we do not know
                self.patience.strain()
            else:
                obey(flags, number, payload)

    def _continue(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        block = self._block
        if block is None or kind != CONTINUATION or number != self._block_id:
            raise ConnectionFault(PROTOCOL_ERROR, "Headers and what continues them are torn.")
        self.patience.strain()
        block += payload
        if len(block) > BLOCK:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "The headers are too long.")
        if flags & END_HEADERS:
            self._block = None
            self._headers(self._block_flags, number, bytes(block))

    def expire(self) -> None:
        if not self.closing:
            self.fail(ConnectionFault(PROTOCOL_ERROR, f"Nothing came for {_WAIT_S:g}s."))
        elif self.unsent > (left := self.transport.get_write_buffer_size()):
            self.unsent = left  # the client still reads
            self.wait(_WAIT_S)
        else:
            self.transport.abort()
