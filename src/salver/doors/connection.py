"""One client connection as a thing that is read, written, timed and ended; HTTP comes on top.

A connection is always in one stage:

    READY --head incomplete--> HEAD --small body incomplete--> BODY --.
      |            `--large body--> FILL (into shared memory) --------+--> BUSY --reply--> READY
      `-------------`--larger, chunked or a tunnel--> FLOW -----------'
                                                       `--reply is done first--> DROP --> READY
    any --> CLOSING: what arrives is dropped, what was written still goes out
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from salver.doors.wheel import TICK

if TYPE_CHECKING:
    from salver.doors.body import Fill, Flow
    from salver.doors.door import HttpDoor
    from salver.doors.head import Head
    from salver.doors.http import HttpCall
    from salver.wire.payload import Segments

__all__ = ("BODY", "BUSY", "CLOSING", "DROP", "FILL", "FLOW", "HEAD", "READY", "Connection")

READY, HEAD, BODY, FILL, FLOW, BUSY, DROP, CLOSING = range(8)

_AHEAD: Final = 64 * 1024  # input kept while a request is under way
_LINGER_BYTES: Final = 4 << 20  # read and dropped after a refusal, so that the client can read it
_LINGER_S: Final = 2.0


class Connection(asyncio.BufferedProtocol):
    """Owned by the loop; the door that it belongs to has the settings, routes and counters."""

    __slots__ = (
        "advancing",
        "blocked",
        "body",
        "bucket",
        "call",
        "client",
        "cutting",
        "deadline",
        "door",
        "head",
        "need",
        "paused",
        "rest",
        "seen",
        "stage",
        "total",
        "transport",
        "unsent",
    )

    def __init__(self, door: HttpDoor) -> None:
        self.door = door
        self.transport = cast("asyncio.Transport", None)
        self.client = b""  # its `host:port`, as requests carry it to replicas
        self.stage = READY
        self.call: HttpCall | None = None  # the client waits for it
        self.head: Head | None = None  # of the request whose body is awaited
        self.body: Fill | Flow | None = None
        self.rest: bytearray | None = None  # arrived, and not yet understood
        self.seen = 0  # how much of it holds no end of a head
        self.need = 0  # how much of it is the request whose body is awaited
        self.paused = False  # reading
        self.blocked = False  # writing
        self.advancing = False
        self.cutting = False
        self.unsent = 0  # left to write when last looked at; in CLOSING: dropped bytes
        self.total = 0.0  # when the request under way has had its time; 0: never
        self.deadline = 0.0
        self.bucket = 0

    # ---- what HTTP adds

    def advance(self) -> None:
        """Go on with input that is there already."""
        raise NotImplementedError

    def expire(self) -> None:
        """The wheel says that the deadline has passed."""
        raise NotImplementedError

    # ---- writing

    def write(self, payload: bytes | Segments) -> None:
        """Bytes for the client, as they are."""
        if isinstance(payload, bytes):
            self.transport.write(payload)
        else:
            self.transport.writelines([payload.inline, *payload.buffers])

    def pause_writing(self) -> None:
        self.blocked = True
        if self.stage != CLOSING:
            self.unsent = self.transport.get_write_buffer_size()
            self.wait(self.door.settings.send_idle_timeout_s)
            self.steer()

    def resume_writing(self) -> None:
        self.blocked = False
        if self.cutting:
            self.transport.abort()
        if self.stage == CLOSING:
            return
        settings = self.door.settings
        self.wait(settings.keep_alive_timeout_s if self.stage == READY else 0)
        if self.call is not None:
            self.call.refill()
        self.steer()
        self.advance()

    def not_taken(self) -> None:
        """The client has had its time to take some of what was written."""
        left = self.transport.get_write_buffer_size()
        if left < self.unsent:
            self.unsent = left
            self.wait(self.door.settings.send_idle_timeout_s)
        else:
            self.let_go()
            self.transport.abort()

    # ---- reading and time

    def wait(self, seconds: float) -> None:
        """Expire after so long (0: never), or when the request has had its time."""
        deadline = self.door.now() + seconds if seconds else 0.0
        total = self.total
        self.deadline = min(deadline, total) if deadline and total else deadline or total
        if self.deadline and not 0 < self.bucket <= self.deadline / TICK + 1:
            self.door.wheel.watch(self)

    def steer(self) -> None:
        """Read from the client exactly when there is room for it."""
        stage = self.stage
        if stage == FLOW:
            stop = not cast("Flow", self.body).wants_more
        elif stage in (DROP, CLOSING):
            stop = False
        else:
            stop = self.blocked or (self.rest is not None and len(self.rest) > _AHEAD)
        if stop != self.paused and not self.transport.is_closing():
            self.paused = stop
            (self.transport.pause_reading if stop else self.transport.resume_reading)()
            if not stop:
                self.door.hangups.forget(self)
            elif stage == FLOW and not cast("Flow", self.body).endless:
                self.door.hangups.watch(self)

    def dropped(self, size: int) -> None:
        """Something arrived while closing."""
        self.unsent += size
        if self.unsent > _LINGER_BYTES:
            self.transport.abort()

    # ---- the end

    def eof_received(self) -> bool:
        self.gone()
        self.wait(self.door.settings.send_idle_timeout_s)
        return False

    def hung_up(self) -> None:
        """The client has left while nothing was read from it."""
        self.eof_received()
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.gone()
        self.door.hangups.forget(self)
        self.door.wheel.forget(self)
        self.door.lost(self)

    def gone(self) -> None:
        """The client does not wait any more."""
        call = self.call
        if call is not None and call.outlives_client():
            if self.total:
                self.door.wheel.watch(_Left(call, self.total))
            self.call = None
            self.body = None
            call.refill()  # what is left of its reply is taken, and goes nowhere
        self.let_go()
        self.deadline = 0.0

    def let_go(self) -> None:
        """Cancel what is under way and forget what has arrived."""
        call, body = self.call, self.body
        self.call = None
        self.body = None
        self.head = None
        self.rest = None
        self.total = 0.0
        self.stage = CLOSING
        if call is not None:
            call.cancel()
        if body is not None:
            body.abandon()

    def close(self) -> None:
        """Close once everything written has been taken."""
        self.let_go()
        self.transport.close()
        self.wait(self.door.settings.send_idle_timeout_s)

    def linger(self) -> None:
        """Close, but let the client, who may still be sending, read what it was told first."""
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self.close()
            return
        self.let_go()
        self.unsent = 0
        self.transport.write_eof()
        self.steer()
        self.wait(_LINGER_S)

    def cut(self) -> None:
        """End a reply that cannot be completed so that the client takes it for no success."""
        if self.call is not None and self.call.head.old:
            self._reset_at_close()
        self.let_go()
        if self.transport.get_write_buffer_size():
            self.cutting = True
            self.transport.set_write_buffer_limits(high=0)
            self.wait(self.door.settings.send_idle_timeout_s)
        else:
            self.transport.abort()

    def _reset_at_close(self) -> None:
        """An HTTP/1.0 reply may end with the connection: an orderly end would look like success."""
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def drain(self) -> None:
        """The door closes: so does this connection, when nothing is under way on it."""
        if self.stage == READY and self.rest is None:
            self.close()


class _Left:
    """A call that goes on without its client, and has no more time for it than with one."""

    __slots__ = ("_call", "bucket", "deadline")

    def __init__(self, call: HttpCall, deadline: float) -> None:
        self._call = call
        self.deadline = deadline
        self.bucket = 0

    def expire(self) -> None:
        self._call.cancel()
