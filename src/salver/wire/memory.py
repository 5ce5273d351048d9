"""Connections within one loop, without sockets: for the inline engine and tests."""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ("MemoryHub",)

Factory = Callable[[], asyncio.BufferedProtocol]


class MemoryHub:
    """Knows who listens at which name. Made and passed by whoever wants processes in one loop."""

    def __init__(self) -> None:
        self._listeners: dict[str, Factory] = {}

    def listen(self, name: str, factory: Factory) -> None:
        """Make a protocol of the factory for everyone who dials this name."""
        if name in self._listeners:
            raise OSError(errno.EADDRINUSE, f"Somebody listens at memory:{name} already")
        self._listeners[name] = factory

    def unlisten(self, name: str) -> None:
        self._listeners.pop(name, None)

    def connect(self, name: str, protocol: asyncio.BufferedProtocol) -> None:
        """Connect the protocol with a new one of the listener's."""
        factory = self._listeners.get(name)
        if factory is None:
            raise OSError(errno.ECONNREFUSED, f"Nobody listens at memory:{name}")
        loop = asyncio.get_running_loop()
        near = _MemoryTransport(loop, protocol)
        far = _MemoryTransport(loop, factory())
        near.peer, far.peer = far, near
        for end in (far, near):
            end.protocol.connection_made(end)


class _MemoryTransport(asyncio.Transport):
    """One end of a pair. What is written arrives in the next tick."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self.protocol = protocol
        self.peer: _MemoryTransport
        self._loop = loop
        self._unsent: deque[bytes] = deque()
        self._size = 0
        self._high = 64 * 1024
        self._paused = False  # our protocol was asked to write no more
        self._reading = True
        self._scheduled = False
        self._closing = False
        self._lost = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:  # noqa: ARG002
        self._high = 64 * 1024 if high is None else high

    def get_write_buffer_size(self) -> int:
        return self._size

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self.peer._schedule()

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._closing or not data:
            return
        self._unsent.append(bytes(data))
        self._size += len(data)
        if self._size > self._high and not self._paused:
            self._paused = True
            self.protocol.pause_writing()
        self._schedule()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._schedule()

    def abort(self) -> None:
        self._closing = True
        self._unsent.clear()
        self._size = 0
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._scheduled = False
        while self._unsent and self.peer._reading and not self.peer._lost:
            data = self._unsent.popleft()
            self._size -= len(data)
            self.peer._receive(data)
        if self.peer._lost:
            self._unsent.clear()
            self._size = 0
        if self._paused and self._size <= self._high // 4:
            self._paused = False
            self.protocol.resume_writing()
        if self._closing and not self._unsent and not self._lost:
            self._lost = True
            self._loop.call_soon(self.protocol.connection_lost, None)
            self._loop.call_soon(self.peer._end_of_stream)

    def _receive(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._closing:
            buffer = memoryview(self.protocol.get_buffer(len(view)))
            size = min(len(buffer), len(view))
            buffer[:size] = view[:size]
            view = view[size:]
            self.protocol.buffer_updated(size)

    def _end_of_stream(self) -> None:
        if not self._closing:
            self.protocol.eof_received()
        self.abort()
