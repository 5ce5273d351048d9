"""What all connections of a port share, and how they come and go."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from salver.doors.http2.protocol import Http2Protocol
from salver.doors.wheel import TimerWheel

if TYPE_CHECKING:
    from salver.doors.http2.connection import Connection
    from salver.doors.http2.headers import Fields
    from salver.doors.http2.stream import Stream

__all__ = ("Http2Server",)

_logger: Final = logging.getLogger("salver.ingress")
_TURNED_AWAY: Final = (
    "The gRPC door turns clients away: it has %d, and the limit of open files (`ulimit -n`) leaves "
    "no room for more."
)
_QUIET_S: Final = 60.0  # between two words about the same trouble
_BACKLOG: Final = 4096
_SCRATCH: Final = 256 << 10
_HANDSHAKE_S: Final = 20.0
_FAREWELL_S: Final = 1.0
"""For clients to have read that they are to begin nothing more."""


class Http2Server:
    """Serves one protocol.

    `parser(peer)` gives for a client what makes a head of the fields of each of its requests, or
    raises StreamFault; `stream(connection, id, head)` makes what answers that request. Of clients
    there are `most` at a time.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        parser: Callable[[Any], Callable[[Fields], Any]],
        stream: Callable[[Connection, int, Any], Stream],
        most: int,
    ) -> None:
        self.loop = loop
        self.parser = parser
        self.stream = stream
        self.most = most
        self.wheel = TimerWheel(loop.time, loop.call_at)
        # One for all: what is read is taken out of it before anything else is read.
        self.scratch = memoryview(bytearray(_SCRATCH))
        self._connections: set[Connection] = set()
        self._listening: asyncio.Server | None = None
        self._quiet_until = 0.0
        self._leaving = False
        self._empty = asyncio.Event()

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Let clients in by a socket that is bound."""
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # clients' inherit it
        self._listening = await self.loop.create_server(
            lambda: Http2Protocol(self),
            sock=listener,
            backlog=_BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=_HANDSHAKE_S if tls is not None else None,
        )

    async def drain(self, limit_s: float) -> None:
        """Let nobody in, answer what is under way or on its way, and cut what takes too long."""
        if self._listening is not None:
            self._listening.close()
        self._leaving = True
        for connection in list(self._connections):
            connection.leave()
        until = self.loop.time() + limit_s
        if not await self._emptied(min(limit_s, _FAREWELL_S)):
            for connection in list(self._connections):
                connection.drain()
        if not await self._emptied(until - self.loop.time()):
            for connection in list(self._connections):
                connection.transport.abort()
            await self._empty.wait()
        self.wheel.close()

    async def _emptied(self, limit_s: float) -> bool:
        """Whether all clients have gone, or go in time."""
        if self._connections:
            self._empty.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), limit_s)
        return not self._connections

    # ---- for the connections

    def opened(self, connection: Connection) -> bool:
        """Whether it may stay."""
        if len(self._connections) >= self.most:
            now = self.loop.time()
            if now >= self._quiet_until:
                self._quiet_until = now + _QUIET_S
                _logger.warning(_TURNED_AWAY, self.most)
            return False
        self._connections.add(connection)
        if self._leaving:  # its handshake took until now
            connection.leave()
        return True

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()
