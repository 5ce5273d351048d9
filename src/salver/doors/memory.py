"""A client connection that is no socket: the same protocol, fed and read in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from salver.doors.protocol import HttpProtocol

__all__ = ("MemoryClient",)

_HIGH: Final = 64 * 1024

_Bytes = bytes | bytearray | memoryview


class _Transport(asyncio.Transport):
    """The door's end. What it writes waits here until the client reads it."""

    def __init__(
        self, protocol: HttpProtocol, loop: asyncio.AbstractEventLoop, peer: tuple[str, int] | None
    ) -> None:
        super().__init__({"peername": peer})
        self._protocol = protocol
        self._loop = loop
        self._high = _HIGH
        self._blocked = False
        self._closing = False
        self.written: deque[bytes] = deque()
        self.size = 0
        self.ended = False  # nothing more will be written
        self.cut = False
        self.lost = False
        self.changed = asyncio.Event()
        self.may_read = asyncio.Event()
        self.may_read.set()

    def write(self, data: _Bytes) -> None:
        if self.ended or not data:
            return
        self.written.append(bytes(data))
        self.size += len(data)
        self.changed.set()
        self._check()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def take(self) -> bytes:
        """Everything written so far."""
        data = b"".join(self.written)
        self.written.clear()
        self.size = 0
        if self._blocked and not self.lost:
            self._blocked = False
            self._protocol.resume_writing()
        return data

    def _check(self) -> None:
        if self.size > self._high and not self._blocked:
            self._blocked = True
            self._protocol.pause_writing()

    def set_write_buffer_limits(
        self,
        high: int | None = None,
        low: int | None = None,  # noqa: ARG002 - all is taken at once
    ) -> None:
        self._high = _HIGH if high is None else high
        self._check()

    def get_write_buffer_size(self) -> int:
        return self.size

    def pause_reading(self) -> None:
        self.may_read.clear()

    def resume_reading(self) -> None:
        self.may_read.set()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True
        self.changed.set()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._end()

    def abort(self) -> None:
        self.cut = self.cut or not self.ended
        self._end()

    def _end(self) -> None:
        self._closing = self.ended = True
        self.may_read.set()
        self.changed.set()
        if not self.lost:
            self.lost = True
            self._loop.call_soon(self._protocol.connection_lost, None)


class MemoryClient:
    """The client's end: `send` bytes, `receive` bytes (empty: the door has closed), `close`."""

    def __init__(
        self,
        protocol: HttpProtocol,
        loop: asyncio.AbstractEventLoop,
        peer: tuple[str, int] | None = None,
    ) -> None:
        self._protocol = protocol
        self._transport = _Transport(protocol, loop, peer)
        protocol.connection_made(self._transport)

    async def send(self, data: bytes) -> None:
        """Return when the door has taken all of it, or takes no more."""
        at = 0
        while at < len(data):
            await self._transport.may_read.wait()
            if self._transport.is_closing():
                return
            buffer = self._protocol.get_buffer(-1)
            size = min(len(data) - at, len(buffer))
            buffer[:size] = data[at : at + size]
            del buffer
            self._protocol.buffer_updated(size)
            at += size

    async def receive(self) -> bytes:
        """What was written since, once there is anything."""
        transport = self._transport
        while not transport.written and not transport.ended:
            transport.changed.clear()
            await transport.changed.wait()
        return transport.take()

    @property
    def cut(self) -> bool:
        """The door broke the connection off."""
        return self._transport.cut

    def close(self) -> None:
        """Hang up."""
        if not self._transport.is_closing():
            self._transport.close()
