"""Two ends of a connection, and handlers that note what happens."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from salver.wire.connection import Connection
from salver.wire.messages import Hello
from salver.wire.payload import Segments
from salver.wire.streams import Dialler, Limits, Listener, MemoryHub

SECRET = b"s" * 32
Frame = tuple[int, int, int, int, Any]


def hello(role: str, pid: int | None = None) -> Hello:
    return Hello(b"", role, f"{role}-1", os.getpid() if pid is None else pid)


class Notes:
    """A FrameHandler that remembers, and wakes who waits for something."""

    def __init__(self, on_frame: Callable[[Connection, Frame], None] | None = None) -> None:
        self.frames: list[Frame] = []
        self.opened_with: Connection | None = None
        self.writables = 0
        self.end: Exception | str | None = "open"
        self._on_frame = on_frame
        self._changed = asyncio.Event()

    def opened(self, conn: Connection) -> None:
        self.opened_with = conn
        self._changed.set()

    def frame(
        self,
        conn: Connection,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        assert self.end == "open"
        self.frames.append((type, flags, aux, call_id, payload))
        self._changed.set()
        if self._on_frame:
            self._on_frame(conn, self.frames[-1])

    def closed(self, conn: Connection, error: Exception | None) -> None:
        assert self.end == "open"
        self.end = error
        self._changed.set()

    def writable(self, conn: Connection) -> None:
        self.writables += 1
        self._changed.set()

    async def until(self, true: Callable[[], object]) -> None:
        while not true():
            self._changed.clear()
            await self._changed.wait()

    async def count(self, n: int) -> list[Frame]:
        await self.until(lambda: len(self.frames) >= n)
        return self.frames

    async def ended(self) -> Exception | str | None:
        await self.until(lambda: self.end != "open")
        return self.end


class Pair:
    """A dialled connection, the accepted one, and their handlers."""

    caller: Connection
    callee: Connection

    def __init__(self) -> None:
        self.near = Notes()
        self.far = Notes()
        self.hub = MemoryHub()
        self.dialler = Dialler(self.hub)
        self.server = Dialler(self.hub)
        self.listener: Listener

    @classmethod
    async def make(
        cls, address: str, *, limits: Limits | None = None, pids: tuple[int, int] | None = None
    ) -> Pair:
        pair = cls()
        near, far = pids or (None, None)
        if limits:
            pair.dialler = Dialler(pair.hub, limits=limits)
            pair.server = Dialler(pair.hub, limits=limits)
        pair.listener = await pair.server.listen(
            address, lambda: pair.far, hello("replica", far), SECRET
        )
        pair.caller = await pair.dialler.dial(address, pair.near, hello("caller", near), SECRET)
        assert pair.far.opened_with is not None
        pair.callee = pair.far.opened_with
        return pair

    async def close(self) -> None:
        self.caller.close()
        self.callee.close()
        await self.near.ended()
        await self.far.ended()
        self.listener.close()
        self.dialler.close()
        self.server.close()
