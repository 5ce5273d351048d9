"""One request and its answer: what may be sent, and what has been taken of what was received."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from salver.doors.http2.frames import (
    CANCEL,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME,
    HEADERS,
    RST_STREAM,
    frame,
    word,
)

if TYPE_CHECKING:
    from salver.doors.http2.connection import Connection

__all__ = ("WINDOW", "Stream")

WINDOW: Final = 4 << 20  # bytes that a client may send and nobody has taken
_REFILL: Final = WINDOW // 2
_COPIED: Final = 16 << 10  # up to so much is written in one piece with its frame's head
_LARGEST: Final = 256 << 10  # a frame of ours: others have their turn between two of them


class Stream:
    """What a protocol on top derives from: it is told what arrives, and sends."""

    __slots__ = (
        "_last", "_owed", "_queue", "_waiter", "answering", "conn", "heard_all", "id", "over",
        "room", "window",
    )  # fmt: skip

    def __init__(self, conn: Connection, number: int) -> None:
        self.conn = conn
        self.id = number
        self.window = conn.first_window  # bytes that may be sent
        self.room = WINDOW  # bytes that may arrive
        self.heard_all = False  # the client has sent all
        self.answering = False  # the head of the answer has been sent
        self.over = False  # nothing is sent any more
        self._owed = 0  # bytes that were taken and that the client has not been told of
        self._queue: deque[memoryview] | None = None
        self._last: bytes | None = None  # the block that follows the queue and ends the stream
        self._waiter: asyncio.Future[None] | None = None

    # ---- what a protocol on top adds

    def opened(self) -> None:
        """The head of the request is there."""
        raise NotImplementedError

    def start(self) -> None:
        """It is in `held` no more: it may begin."""
        raise NotImplementedError

    def data(self, payload: bytes) -> None:
        """Some of the request's body is there; `took` is owed for it. StreamFault."""
        raise NotImplementedError

    def ended(self) -> None:
        """The client has sent all."""
        raise NotImplementedError

    def gone(self) -> None:
        """Nobody waits for an answer any more."""
        raise NotImplementedError

    # ---- receiving

    def took(self, size: int) -> None:
        """So much of the body has been used up: the client may send more."""
        self.conn.took(size)
        self._owed += size
        if self._owed >= _REFILL and not self.heard_all and not self.over:
            self.conn.widen(self.id, self._owed)
            self.room += self._owed
            self._owed = 0

    # ---- sending

    def begin(self, block: bytes) -> None:
        """The head of the answer."""
        self.answering = True
        block = self.conn.taking_notice(block)
        self.conn.write(FRAME.pack(len(block) << 8 | HEADERS, END_HEADERS, self.id) + block)

    def send(self, data: bytes | memoryview) -> None:
        """Some of the answer's body; it leaves as the client takes it."""
        conn, size = self.conn, len(data)
        if self._queue is None and size <= _COPIED and conn.lets(self, size):
            self.window -= size
            conn.window -= size
            conn.write(b"".join((FRAME.pack(size << 8 | DATA, 0, self.id), data)))
            return
        if self._queue is None:
            self._queue = deque()
        self._queue.append(memoryview(data))
        conn.queued += size
        self.line_up()
        conn.pump()

    def finish(self, block: bytes) -> None:
        """The trailers: what is last."""
        if self._queue is None:
            self._end(block)
        elif self._last is None:
            self._last = block

    @property
    def finished(self) -> bool:
        """Nothing can be said any more: the end has been, or it follows what waits."""
        return self.over or self._last is not None

    @property
    def queued(self) -> bool:
        """Whether some of the answer waits for the client to take it."""
        return self._queue is not None

    def line_up(self) -> None:
        """Have a turn when the connection pumps, if something waits and may be sent."""
        if self._queue is not None and self.window > 0:
            self.conn.waiting[self] = None

    def push(self) -> None:
        """Send one frame of what waits; the connection says that it is this stream's turn."""
        conn, queue = self.conn, self._queue
        if queue is None or self.window <= 0:  # the client may have narrowed it since
            return
        view = queue[0]
        size = min(len(view), self.window, conn.window, conn.frame_size, _LARGEST)
        if size < len(view):
            queue[0] = view[size:]
            view = view[:size]
        else:
            queue.popleft()
        self.window -= size
        conn.window -= size
        conn.queued -= size
        head = FRAME.pack(size << 8 | DATA, 0, self.id)
        if size <= _COPIED:
            conn.write(b"".join((head, view)))
        else:
            conn.transport.writelines((head, view))
        if queue:
            if self.window > 0:
                conn.waiting[self] = None
            return
        self._queue = None
        if self._last is not None:
            self._end(self._last)
        self.wake()

    async def sent(self) -> None:
        """Return when all has left, or when nobody wants it any more."""
        while not self.over and (self._queue is not None or self.conn.blocked):
            self._waiter = self.conn.server.loop.create_future()
            if self._queue is None:
                self.conn.parked.append(self)
            await self._waiter

    def wake(self) -> None:
        """Whoever waits in `sent` looks again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self, block: bytes) -> None:
        block = self.conn.taking_notice(block)
        self.conn.write(
            FRAME.pack(len(block) << 8 | HEADERS, END_HEADERS | END_STREAM, self.id) + block
        )
        self.close()

    def close(self) -> None:
        """The answer has been given."""
        if not self.heard_all:
            self.conn.answered_early(self.id)
        self.forget()

    def reset(self, code: int = CANCEL) -> None:
        """End it without an answer."""
        if not self.over:
            self.conn.write(frame(RST_STREAM, 0, self.id, word(code)))
            self.forget()

    def forget(self) -> None:
        """It is over, however it went."""
        self.over = True
        if self._queue is not None:
            self.conn.queued -= sum(map(len, self._queue))
            self._queue = None
        self.conn.waiting.pop(self, None)
        self.conn.held.pop(self, None)
        self.wake()
        self.conn.closed(self)

    def __hash__(self) -> int:
        return self.id

    def __eq__(self, other: Any) -> bool:
        return self is other
