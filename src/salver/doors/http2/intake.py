"""What a client's frames make of its connection: streams begin, get their bytes, and end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from salver.doors.http2.connection import CONNECTION_WINDOW, FIRST_WINDOW, Connection
from salver.doors.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    LONGEST,
    PING,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    ConnectionFault,
    FrameReader,
    StreamFault,
    frame,
    read_settings,
    settings,
    unpadded,
    word,
)
from salver.doors.http2.headers import HEADER_LIST, HeadReader
from salver.doors.http2.patience import Patience
from salver.doors.http2.stream import WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

    from salver.doors.http2.server import Http2Server
    from salver.doors.http2.stream import Stream

__all__ = ("Http2Protocol",)

_logger: Final = logging.getLogger("salver.ingress")

# Settings.
_TABLE_SIZE: Final = 1
_ENABLE_PUSH: Final = 2
_STREAMS: Final = 3
_WINDOW: Final = 4
_FRAME_SIZE: Final = 5
_LIST_SIZE: Final = 6

_MOST_STREAMS: Final = 4096  # of one connection at a time
_GREETING: Final = settings(
    (
        (_STREAMS, _MOST_STREAMS),
        (_WINDOW, WINDOW),
        (_FRAME_SIZE, LONGEST),
        (_LIST_SIZE, HEADER_LIST),
    )
) + frame(WINDOW_UPDATE, 0, 0, word(CONNECTION_WINDOW - FIRST_WINDOW))
_LARGEST_WINDOW: Final = 2**31 - 1
_BLOCK: Final = 64 << 10  # bytes of a header block, over all its frames
_WAIT_S: Final = 20.0
"""For the preface, and for the rest of anything but a stream's body."""
_NOT_HTTP2: Final = (
    b"This port speaks gRPC: HTTP/2, without an upgrade from HTTP/1.1. The HTTP door has another.\n"
)


class Http2Protocol(Connection):
    """What the loop is given for each client."""

    __slots__ = (
        "_block", "_block_flags", "_block_id", "_greeted", "_heads", "_obey", "_patience",
        "_preface", "_reader",
    )  # fmt: skip

    def __init__(self, server: Http2Server) -> None:
        Connection.__init__(self, server)
        self._reader = FrameReader()
        self._preface = b""
        self._greeted = False  # the client's first frame, its settings, is there
        self._block: bytearray | None = None  # of headers whose other frames are awaited
        self._block_flags = 0
        self._block_id = 0
        self._patience = Patience(server.loop.time)
        self._obey: dict[int, Callable[[int, int, bytes], None]] = {
            PRIORITY: self._priority,
            RST_STREAM: self._rst_stream,
            SETTINGS: self._settings,
            PUSH_PROMISE: self._push_promise,
            PING: self._ping,
            GOAWAY: self._goaway,
            WINDOW_UPDATE: self._window_update,
        }

    # ---- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=1 << 20)
        self._heads: HeadReader[Any] = HeadReader(
            self.server.parser(transport.get_extra_info("peername"))
        )
        self.server.opened(self)
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
            if not self.deadline:
                self.wait(_WAIT_S)
        elif self._greeted:
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
        if not number & 1 or not self._greeted:
            raise ConnectionFault(PROTOCOL_ERROR, f"Stream {number} cannot begin here.")
        try:
            head = self._heads.read(block)
        except StreamFault as fault:
            self.last_id = number
            self._reset(number, fault.code)
            return
        self.last_id = number
        if len(self.streams) >= _MOST_STREAMS:
            self._reset(number, REFUSED_STREAM)
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
        self._heads.skip(block)
        stream = self.streams.get(number)
        if stream is None:
            self._patience.strain()
            if number > self.last_id:
                self._reset(number, REFUSED_STREAM)
        elif stream.heard_all or not flags & END_STREAM:
            self._break(stream, STREAM_CLOSED if stream.heard_all else PROTOCOL_ERROR)
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
            self._known(number)
            self._patience.strain()
            self.took(size)
            return
        if stream.heard_all:
            self.took(size)
            self._break(stream, STREAM_CLOSED)
            return
        stream.room -= size
        if stream.room < 0:
            self.took(size)
            self._break(stream, FLOW_CONTROL_ERROR)
            return
        if flags & END_STREAM:
            stream.heard_all = True
        elif not payload:
            self._patience.strain()
        if padding:
            stream.took(padding)
        if payload:
            stream.data(payload)
        if flags & END_STREAM and not stream.over:
            stream.ended()

    # ---- everything else

    def _rare(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None or kind == CONTINUATION:
            self._continue(kind, flags, number, payload)
        elif kind == HEADERS:
            self._block = bytearray(unpadded(flags, payload))
            self._block_flags, self._block_id = flags, number
        elif not self._greeted and kind != SETTINGS:
            raise ConnectionFault(PROTOCOL_ERROR, "The first frame is to be SETTINGS.")
        else:
            obey = self._obey.get(kind)
            if obey is None:  # an extension that we do not know
                self._patience.strain()
            else:
                obey(flags, number, payload)

    def _continue(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        block = self._block
        if block is None or kind != CONTINUATION or number != self._block_id:
            raise ConnectionFault(PROTOCOL_ERROR, "Headers and what continues them are torn.")
        self._patience.strain()
        block += payload
        if len(block) > _BLOCK:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "The headers are too long.")
        if flags & END_HEADERS:
            self._block = None
            self._headers(self._block_flags, number, bytes(block))

    def _priority(self, _flags: int, number: int, payload: bytes) -> None:
        self._patience.strain()
        if not number:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY belongs to a stream.")
        if len(payload) != 5:
            self._reset(number, FRAME_SIZE_ERROR)

    def _rst_stream(self, _flags: int, number: int, payload: bytes) -> None:
        self._patience.strain()
        _exactly(4, payload)
        self._known(number)
        stream = self.streams.get(number)
        if stream is not None:
            stream.forget()
            stream.gone()

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS belong to no stream.")
        if flags & ACK:
            _exactly(0, payload)
            return
        self._greeted = True
        self._patience.strain()
        for name, value in read_settings(payload):
            self._patience.strain()
            self._set(name, value)
        self.write(frame(SETTINGS, ACK, 0))
        self.pump()

    def _set(self, name: int, value: int) -> None:
        if name == _WINDOW:
            if value > _LARGEST_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "A window is too large.")
            more, self.first_window = value - self.first_window, value
            for stream in list(self.streams.values()):
                self._open(stream, more)
        elif name == _FRAME_SIZE:
            if not 1 << 14 <= value < 1 << 24:
                raise ConnectionFault(PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE={value}?")
            self.frame_size = value
        elif name == _TABLE_SIZE and value < 4096:
            self.shrink_table()
        elif name == _ENABLE_PUSH and value > 1:
            raise ConnectionFault(PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH={value}?")

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionFault(PROTOCOL_ERROR, "A client cannot push.")

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        self._patience.strain()
        _exactly(8, payload)
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "PING belongs to no stream.")
        if not flags & ACK:
            self.write(frame(PING, ACK, 0, payload))

    def _goaway(self, _flags: int, number: int, payload: bytes) -> None:
        """The client begins nothing new; it closes when it has its answers."""
        self._patience.strain()
        if number or len(payload) < 8:
            raise ConnectionFault(PROTOCOL_ERROR, "GOAWAY is not like this.")

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        _exactly(4, payload)
        more = int.from_bytes(payload, "big") & _LARGEST_WINDOW
        if number:
            self._known(number)
            stream = self.streams.get(number)
            if stream is None:
                self._patience.strain()
            elif not more:
                self._break(stream, PROTOCOL_ERROR)
            else:
                self._open(stream, more)
        elif not more:
            raise ConnectionFault(PROTOCOL_ERROR, "A window is widened by nothing.")
        elif self.window + more > _LARGEST_WINDOW:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "A window is too large.")
        else:
            self.window += more
            self.pump()

    def _open(self, stream: Stream, more: int) -> None:
        """The client takes so much more of this answer."""
        stream.window += more
        if stream.window > _LARGEST_WINDOW:
            self._break(stream, FLOW_CONTROL_ERROR)
        else:
            stream.go_on()

    # ---- what is wrong

    def _known(self, number: int) -> None:
        """ConnectionFault: there has never been such a stream."""
        if (number > self.last_id and not self.draining) or not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, f"There is no stream {number}.")

    def _reset(self, number: int, code: int) -> None:
        self._patience.strain()
        self.write(frame(RST_STREAM, 0, number, word(code)))

    def _break(self, stream: Stream, code: int) -> None:
        """The client has done what ends a stream."""
        self._patience.strain()
        stream.reset(code)
        stream.gone()

    def expire(self) -> None:
        if not self.closing:
            self.fail(ConnectionFault(PROTOCOL_ERROR, f"Nothing came for {_WAIT_S:g}s."))
        elif self.unsent > (left := self.transport.get_write_buffer_size()):
            self.unsent = left  # the client still reads
            self.wait(_WAIT_S)
        else:
            self.transport.abort()


def _exactly(size: int, payload: bytes) -> None:
    if len(payload) != size:
        raise ConnectionFault(FRAME_SIZE_ERROR, f"A frame has {len(payload)} bytes, not {size}.")
