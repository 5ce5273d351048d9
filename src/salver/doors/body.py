"""Where the bytes of a request's body go: none of them passes through a parser of heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from salver.doors.chunked import ChunkedDecoder
from salver.wire.frames import CHUNK, END, MAX_FRAME

if TYPE_CHECKING:
    from salver.calls.link import Link
    from salver.doors.head import Head
    from salver.wire.arena import Slab

__all__ = ("BodyTooLarge", "Fill", "Flow")

_PIECE: Final = MAX_FRAME - 1024  # of a body, per frame


class BodyTooLarge(Exception):
    """More body arrived than the limit allows."""


class Fill:
    """A body of known, large size: the kernel writes it into shared memory, piece by piece.

    It may write a byte more, where the slab has room: so that a read which ends with the body has
    not filled what it was given, and the loop need not read again to learn that nothing follows.
    """

    __slots__ = ("at", "head", "size", "slab", "view")

    def __init__(self, head: Head, slab: Slab) -> None:
        self.head = head
        self.slab = slab
        self.size = head.length
        self.view = slab.room[: head.length + 1]
        self.at = 0

    def put(self, data: bytes | memoryview) -> None:
        """Take what had arrived together with the head."""
        self.view[: len(data)] = data
        self.at = len(data)

    def abandon(self) -> None:
        """It will not be sent."""
        self.view.release()
        self.slab.release()


class Flow:
    """A body that is passed on while it arrives, as fast as the replica gives credit.

    Nothing is sent before the first credit; what has arrived by then is held, and reading stops.
    `length` -1: it ends with the connection (a tunnel).
    """

    __slots__ = (
        "_call_id",
        "_credit",
        "_decoder",
        "_ended",
        "_held",
        "_left",
        "_link",
        "_room",
        "arrived",
        "dropped",
        "granted",
        "sent",
    )

    def __init__(self, length: int, *, chunked: bool, limit: int) -> None:
        self._decoder = ChunkedDecoder() if chunked else None
        self._left = length
        self._room = limit
        self._held = bytearray()
        self._credit = 0
        self._ended = False  # END was sent
        self._link: Link | None = None
        self._call_id = 0
        self.arrived = False  # some of it is here
        self.dropped = False  # nobody reads it any more
        self.granted = False  # the replica has asked for it
        self.sent = False  # some of it has left: no other replica can have it

    @property
    def done(self) -> bool:
        """All of it has arrived from the client."""
        return self._left == 0 if self._decoder is None else self._decoder.done

    @property
    def wants_more(self) -> bool:
        """There is room for what the client sends next."""
        return self.dropped or self._credit > 0  # while there is credit, nothing is held

    @property
    def endless(self) -> bool:
        """It ends with the connection."""
        return self._left < 0

    @property
    def left(self) -> int:
        """How much is to come at most, as far as that was said."""
        return self._room if self._decoder is not None else self._left

    def to(self, link: Link, call_id: int) -> None:
        """Send it there, once there is credit."""
        self._link = link
        self._call_id = call_id
        self._credit = 0
        self.granted = False

    def drop(self, room: int) -> None:
        """Nobody reads it any more; BodyTooLarge if more than `room` bytes still come."""
        self.dropped = True
        self._link = None
        self._held.clear()
        self._room = room

    def feed(self, data: bytes) -> bytes:
        """Take body bytes; return what follows the body."""
        rest = b""
        self.arrived = self.arrived or bool(data)
        if self._decoder is not None:
            data = self._decoder.feed(data)
            rest = self._decoder.rest
        elif self._left >= 0:
            rest = data[self._left :]
            data = data[: self._left]
            self._left -= len(data)
        if self._left >= 0:
            self._room -= len(data)
            if self._room < 0:
                raise BodyTooLarge
        if not self.dropped:
            self._pass_on(data)
        return rest

    def grant(self, amount: int) -> None:
        """The replica takes so many more chunks."""
        if self._link is not None:
            self.granted = True
            self._credit += amount
            self._pump()

    def abandon(self) -> None:
        """Neither side wants it any more."""
        self._link = None
        self._held.clear()

    def end(self) -> None:
        """Tell the replica that this was all."""
        if self._link is not None and not self._ended:
            self._ended = True
            self._link.conn.send(END, 0, 0, self._call_id)

    def _pass_on(self, data: bytes) -> None:
        link = self._link
        if link is not None and self._credit and 0 < len(data) <= _PIECE:  # so nothing is held
            self._credit -= 1
            self.sent = True
            link.conn.send(CHUNK, 0, 0, self._call_id, data)
        else:
            self._held += data
        self._pump()

    def _pump(self) -> None:
        link = self._link
        if link is None:
            return
        held = self._held
        while held and self._credit:
            self._credit -= 1
            self.sent = True
            piece = bytes(held[:_PIECE])
            del held[:_PIECE]  # before it is sent: a reader at the door asks for more at once
            link.conn.send(CHUNK, 0, 0, self._call_id, piece)
        if not held and self.granted and self.done:
            self.end()
