"""One client's connection: what is written to it, how much, for how long, and how it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from salver.doors.http2.frames import (
    NO_ERROR,
    PING,
    RST_STREAM,
    WINDOW_UPDATE,
    ConnectionFault,
    frame,
    goaway,
    word,
)

if TYPE_CHECKING:
    from salver.doors.http2.server import Http2Server
    from salver.doors.http2.stream import Stream

__all__ = ("CONNECTION_WINDOW", "FAREWELL", "FIRST_WINDOW", "Connection")

FIRST_WINDOW: Final = 0xFFFF  # before anybody says otherwise
CONNECTION_WINDOW: Final = 64 << 20  # bytes of all streams that may arrive and nobody has taken
_REFILL: Final = CONNECTION_WINDOW // 4
_LINGER_S: Final = 2.0
"""For the client to read what it was told last."""
_DROPPED: Final = 4 << 20  # bytes read while it does
_STOP_S: Final = 0.2
"""For the client to send the rest of a request that is answered."""
_UNHEARD: Final = 4096  # requests that this is done for at a time
_FRAME_SIZE: Final = 16 << 10
_FULL: Final = 64 << 20  # bytes that wait for a client, above which nothing new begins for it
_ANY: Final = 2**31 - 1  # no stream is above it
FAREWELL: Final = b"farewell"
"""The ping whose answer says that the client has read that it is to begin nothing more."""


class Connection(asyncio.BufferedProtocol):
    """Owned by the loop; the server that it belongs to has what all connections share."""

    __slots__ = (
        "blocked", "bucket", "closing", "deadline", "draining", "dropped", "first_window",
        "frame_size", "held", "last_id", "leaving", "notice", "open", "owed", "parked", "queued",
        "room", "server", "streams", "transport", "unheard", "unsent", "waiting", "window",
    )  # fmt: skip

    def __init__(self, server: Http2Server) -> None:
        self.server = server
        self.transport = cast("asyncio.Transport", None)
        self.streams: dict[int, Stream] = {}
        self.last_id = 0  # the newest stream that was looked at
        self.window = FIRST_WINDOW  # bytes that may be sent on all streams
        self.first_window = FIRST_WINDOW  # and on each new one
        self.frame_size = _FRAME_SIZE  # of ours, at most
        self.room = CONNECTION_WINDOW  # bytes that may arrive
        self.owed = 0  # bytes that were taken and that the client has not been told of
        self.waiting: dict[Stream, None] = {}  # with data that their own windows let through
        self.queued = 0  # bytes of answers that the client is yet to take
        self.held: dict[Stream, None] = {}  # which begin when it has taken enough
        self.unheard: dict[int, asyncio.TimerHandle] = {}  # streams answered before all was sent
        self.parked: list[Stream] = []  # whose writers wait for the transport
        self.blocked = False  # writing
        self.open = False  # the greeting has been sent
        self.leaving = False  # the client is asked to begin no more streams
        self.draining = False  # new streams are refused
        self.closing = False  # what arrives is dropped
        self.dropped = 0
        self.unsent = 0  # bytes left to write when last looked at, while closing
        self.notice = b""  # precedes the next block: of a table that we do not use
        self.deadline = 0.0
        self.bucket = 0

    # ---- writing

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def lets(self, stream: Stream, size: int) -> bool:
        """Whether a frame of so many bytes may leave now."""
        return (
            size <= stream.window
            and size <= self.window
            and size <= self.frame_size
            and not self.blocked
        )

    def pump(self) -> None:
        """Send what waits, one frame of each stream after the other."""
        waiting = self.waiting
        while waiting and self.window > 0 and not self.blocked:
            stream = next(iter(waiting))
            del waiting[stream]
            stream.push()
        if self.held:
            self.let_in()

    @property
    def full(self) -> bool:
        """So much waits for the client that what it asks for now has to wait, too."""
        return self.queued > _FULL

    def let_in(self) -> None:
        """Begin what had to wait, as far as the client has taken what waits for it."""
        held, self.held = self.held, {}  # what begins here may be answered here
        while held and not self.full:
            stream = next(iter(held))
            del held[stream]
            if not stream.over:
                stream.start()
        held.update(self.held)
        self.held = held

    def pause_writing(self) -> None:
        self.blocked = True
        if not self.closing:
            self.transport.pause_reading()  # whoever does not read need not be listened to

    def resume_writing(self) -> None:
        self.blocked = False
        if not self.transport.is_closing():
            self.transport.resume_reading()
        self.pump()
        if not self.blocked:
            parked, self.parked = self.parked, []
            for stream in parked:
                stream.wake()

    # ---- receiving

    def took(self, size: int) -> None:
        """So many bytes of some stream have been used up."""
        self.owed += size
        if self.owed >= _REFILL and not self.closing:
            self.widen(0, self.owed)
            self.room += self.owed
            self.owed = 0

    def shrink_table(self) -> None:
        """The client wants a smaller table than the one that we make no use of: say so once."""
        self.notice = b"\x20"

    def taking_notice(self, block: bytes) -> bytes:
        """A header block that leaves next."""
        if self.notice:
            block, self.notice = self.notice + block, b""
        return block

    def widen(self, stream: int, size: int) -> None:
        """Tell the client that it may send so much more."""
        self.write(frame(WINDOW_UPDATE, 0, stream, word(size)))

    # ---- the end

    def answered_early(self, number: int) -> None:
        """A client has its answer and has not sent all: in a while it is told that it need not.

        Not at once: a client of grpc's that is writing just then takes the reset for its answer.
        """
        if len(self.unheard) >= _UNHEARD:
            self.stop(number)
        else:
            self.unheard[number] = self.server.loop.call_later(_STOP_S, self.stop, number)

    def stop(self, number: int) -> None:
        """Tell the client that nobody wants the rest of what it sends."""
        self.unheard.pop(number, None)
        if not self.closing:
            self.write(frame(RST_STREAM, 0, number, word(NO_ERROR)))

    def heard(self, number: int) -> None:
        """A client that was answered early sends nothing more."""
        timer = self.unheard.pop(number, None)
        if timer is not None:
            timer.cancel()

    def closed(self, stream: Stream) -> None:
        """A stream is over."""
        self.streams.pop(stream.id, None)
        if self.held:
            self.let_in()
        if self.draining and not self.streams:
            self.part()

    def leave(self) -> None:
        """Ask the client to begin no more streams, and take those that are on their way."""
        self.leaving = True
        if self.open and not self.closing:
            self.write(goaway(_ANY, NO_ERROR) + frame(PING, 0, 0, FAREWELL))

    def drain(self) -> None:
        """Take no new streams; close when those under way are over."""
        if not self.draining and not self.closing:
            self.draining = True
            if self.open:
                self.write(goaway(self.last_id, NO_ERROR))
            if not self.streams:
                self.part()

    def fail(self, fault: ConnectionFault) -> None:
        """The client has done what ends the connection: say so, and end it."""
        if not self.closing:
            self.write(goaway(self.last_id, fault.code, str(fault)))
            self.part()

    def part(self) -> None:
        """Close, but let the client, who may still be sending, read what it was told first."""
        if self.closing:
            return
        self.let_go()
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
        else:
            self.transport.write_eof()
            if not self.blocked:
                self.transport.resume_reading()
        self.unsent = self.transport.get_write_buffer_size()
        self.wait(_LINGER_S)

    def drop(self, size: int) -> None:
        """Something arrived while closing."""
        self.dropped += size
        if self.dropped > _DROPPED:
            self.transport.abort()

    def let_go(self) -> None:
        """End what is under way: nobody waits for it."""
        self.closing = True
        for stream in list(self.streams.values()):
            if not stream.over:
                stream.over = True
                stream.gone()
                stream.wake()
        for timer in self.unheard.values():
            timer.cancel()
        self.unheard.clear()
        self.streams.clear()
        self.waiting.clear()
        self.parked.clear()
        self.held.clear()

    def eof_received(self) -> bool:
        self.let_go()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.let_go()
        self.server.wheel.forget(self)
        self.server.lost(self)

    # ---- time

    def wait(self, seconds: float) -> None:
        """Expire after so long; 0: never."""
        self.deadline = self.server.loop.time() + seconds if seconds else 0.0
        if seconds:
            self.server.wheel.watch(self)

    def expire(self) -> None:
        """The wheel says that the deadline has passed."""
        raise NotImplementedError
