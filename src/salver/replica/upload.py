"""The body of a request that comes in pieces, as they are read."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from salver.wire.frames import CREDIT, INITIAL_CREDIT, chunk_cost

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = ("MessageInbox", "Upload")

_WINDOW: Final = 16  # chunks of a request's body on their way, each 256 KiB at most
_REFILL: Final = INITIAL_CREDIT // 2


class Upload:
    """A request body (or a tunnel's bytes) that comes in pieces, as they are read."""

    __slots__ = ("_call", "_granted", "_news", "_pieces", "ended")

    def __init__(self, call: ServedCall) -> None:
        self._call = call
        self._pieces: deque[bytes] = deque()
        self.ended = False  # no more comes; some may be here, unread
        self._granted = 0
        self._news = asyncio.Event()

    def feed(self, piece: bytes) -> None:
        self._granted -= 1
        self._pieces.append(piece)
        self._wake()

    def end(self) -> None:
        """No more comes: it is complete, or its sender is gone."""
        self.ended = True
        self._wake()

    @property
    def complete(self) -> bool:
        return self.ended and not self._pieces

    async def read(self) -> bytes:
        """The next piece; empty at the end. The sender sends only what is asked for here."""
        while not self._pieces:
            if self.ended:
                return b""
            self._grant()
            await self._more()
        piece = self._pieces.popleft()
        self._grant()
        return piece

    def _grant(self) -> None:
        missing = _WINDOW - self._granted - len(self._pieces)
        if missing >= _WINDOW // 2 and not self.ended:
            self._granted += missing
            call = self._call
            call.caller.conn.send(CREDIT, 0, missing, call.call_id)

    async def _more(self) -> None:
        """Wait for something new. Several may: one that reads, and who asks whether it is over."""
        self._news.clear()
        await self._news.wait()

    def _wake(self) -> None:
        self._news.set()


class MessageInbox(Upload):
    """The same of a gRPC call: each piece is a message, and any of them may be empty.

    What is on its way is bounded in bytes, too: the door pays for each message by its size.
    """

    __slots__ = ("_owed",)

    def __init__(self, call: ServedCall) -> None:
        super().__init__(call)
        self._owed = INITIAL_CREDIT  # what the door may still be given

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self._call.cancelled

    def feed(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._wake()

    async def take(self) -> bytes | None:
        """The next message; None: that was the last. The door sends only what is asked for here."""
        while not self._pieces:
            if self.ended:
                return None
            self._give(0)
            await self._more()
        message = self._pieces.popleft()
        self._owed += chunk_cost(len(message))
        self._give(_REFILL)
        return message

    def _give(self, least: int) -> None:
        if self._owed > least and not self.ended:
            owed, self._owed = self._owed, 0
            call = self._call
            call.caller.conn.send(CREDIT, 0, owed, call.call_id)
