"""Frames that begin no request and carry none of it: settings, windows, pings, resets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from salver.doors.http2.connection import FAREWELL, Connection
from salver.doors.http2.frames import (
    ACK,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GOAWAY,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionFault,
    frame,
    read_settings,
    word,
)
from salver.doors.http2.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from salver.doors.http2.server import Http2Server
    from salver.doors.http2.stream import Stream

__all__ = ("FRAME_SIZE", "LIST_SIZE", "STREAMS", "WINDOW_SIZE", "Control")

# Settings.
_TABLE_SIZE: Final = 1
_ENABLE_PUSH: Final = 2
STREAMS: Final = 3
WINDOW_SIZE: Final = 4
FRAME_SIZE: Final = 5
LIST_SIZE: Final = 6

_LARGEST_WINDOW: Final = 2**31 - 1
_AS_ONE: Final = 64  # windows that are moved at the cost of a frame


class Control(Connection):
    """A connection that keeps what such frames say."""

    __slots__ = ("greeted", "patience", "rules")

    def __init__(self, server: Http2Server) -> None:
        Connection.__init__(self, server)
        self.greeted = False  # the client's first frame, its settings, is there
        self.patience = Patience(server.loop.time)
        self.rules: dict[int, Callable[[int, int, bytes], None]] = {
            PRIORITY: self._priority,
            RST_STREAM: self._rst_stream,
            SETTINGS: self._settings,
            PUSH_PROMISE: self._push_promise,
            PING: self._ping,
            GOAWAY: self._goaway,
            WINDOW_UPDATE: self._window_update,
        }

    def _priority(self, _flags: int, number: int, payload: bytes) -> None:
        self.patience.strain()
        if not number:
            raise ConnectionFault(PROTOCOL_ERROR, "PRIORITY belongs to a stream.")
        if len(payload) != 5:
            self.reset(number, FRAME_SIZE_ERROR)

    def _rst_stream(self, _flags: int, number: int, payload: bytes) -> None:
        self.patience.strain()
        _exactly(4, payload)
        self.known(number)
        stream = self.streams.get(number)
        if stream is None:
            self.heard(number)
        else:
            self.patience.strain()  # it costs more than a word: the call has begun
            stream.forget()
            stream.gone()

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "SETTINGS belong to no stream.")
        self.patience.strain()
        if flags & ACK:
            _exactly(0, payload)
            return
        self.greeted = True
        for name, value in read_settings(payload):
            self.patience.strain()
            self._set(name, value)
        self.write(frame(SETTINGS, ACK, 0))
        self.pump()  # not before: until then the client may hold to the old ones

    def _set(self, name: int, value: int) -> None:
        if name == WINDOW_SIZE:
            if value > _LARGEST_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "A window is too large.")
            self.patience.strain(len(self.streams) // _AS_ONE)
            more, self.first_window = value - self.first_window, value
            for stream in list(self.streams.values()):
                self._open(stream, more)
        elif name == FRAME_SIZE:
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
        self.patience.strain(text="too_many_pings")  # a client of grpc's asks less often then
        _exactly(8, payload)
        if number:
            raise ConnectionFault(PROTOCOL_ERROR, "PING belongs to no stream.")
        if not flags & ACK:
            self.write(frame(PING, ACK, 0, payload))
        elif self.leaving and payload == FAREWELL:
            self.drain()

    def _goaway(self, _flags: int, number: int, payload: bytes) -> None:
        """The client begins nothing new; it closes when it has its answers."""
        self.patience.strain()
        if number or len(payload) < 8:
            raise ConnectionFault(PROTOCOL_ERROR, "GOAWAY is not like this.")

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        _exactly(4, payload)
        more = int.from_bytes(payload, "big") & _LARGEST_WINDOW
        if number:
            self.known(number)
            stream = self.streams.get(number)
            if stream is None:
                self.patience.strain()
            elif not more:
                self.break_off(stream, PROTOCOL_ERROR)
            else:
                self._open(stream, more)
                self.pump()
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
            self.break_off(stream, FLOW_CONTROL_ERROR)
        else:
            stream.line_up()

    # ---- what is wrong

    def known(self, number: int) -> None:
        """ConnectionFault: there has never been such a stream."""
        if (number > self.last_id and not self.draining) or not number & 1:
            raise ConnectionFault(PROTOCOL_ERROR, f"There is no stream {number}.")

    def reset(self, number: int, code: int) -> None:
        self.patience.strain()
        self.write(frame(RST_STREAM, 0, number, word(code)))

    def break_off(self, stream: Stream, code: int) -> None:
        """The client has done what ends a stream."""
        self.patience.strain()
        stream.reset(code)
        stream.gone()


def _exactly(size: int, payload: bytes) -> None:
    if len(payload) != size:
        raise ConnectionFault(FRAME_SIZE_ERROR, f"A frame has {len(payload)} bytes, not {size}.")
