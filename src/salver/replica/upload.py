"""A request's body as it comes in."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from salver.wire.frames import CREDIT

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = ("Upload",)

_WINDOW: Final = 16  # chunks of a request's body on their way, each 256 KiB at most


class Upload:
    """A request body (or a tunnel's bytes) that comes in pieces, as they are read."""

    __slots__ = ("_call", "_ended", "_granted", "_pieces", "_waiter")

    def __init__(self, call: ServedCall) -> None:
        self._call = call
        self._pieces: deque[bytes] = deque()
        self._ended = False
        self._granted = 0
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, piece: bytes) -> None:
        self._granted -= 1
        self._pieces.append(piece)
        self._wake()

    def end(self) -> None:
        """No more comes: it is complete, or its sender is gone."""
        self._ended = True
        self._wake()

    @property
    def complete(self) -> bool:
        return self._ended and not self._pieces

    async def read(self) -> bytes:
        """The next piece; empty at the end. The sender sends only what is asked for here."""
        while not self._pieces:
            if self._ended:
                return b""
            self._grant()
            self._waiter = self._call.caller.host.loop.create_future()
            await self._waiter
        piece = self._pieces.popleft()
        self._grant()
        return piece

    def _grant(self) -> None:
        missing = _WINDOW - self._granted - len(self._pieces)
        if missing >= _WINDOW // 2 and not self._ended:
            self._granted += missing
            call = self._call
            call.caller.conn.send(CREDIT, 0, missing, call.call_id)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
