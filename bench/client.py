"""A small HTTP/1.1 client connection for the load generators: one request at a time, keep-alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True)
class Target:
    """Where to send what."""

    host: str
    port: int
    request: bytes


def target_of(url: str, body: bytes = b"", content_type: str = "application/json") -> Target:
    """The bytes of a GET, or of a POST when there is a body."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or 80
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if body:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return Target(host, port, head.encode() + b"\r\n" + body)


class Connection(asyncio.Protocol):
    """Sends the target's request when told; tells when the first body byte and the end came.

    `done(connection, ok)` is called once for every `send`. After a failure the connection is of
    no more use.
    """

    def __init__(self, target: Target, done: Callable[[Connection, bool], None]) -> None:
        self.body = b""
        self.first_at = 0.0
        self.intended_at = 0.0
        self._target, self._done = target, done
        self._transport: asyncio.Transport | None = None
        self._waiting = False
        self._begin()

    def _begin(self) -> None:
        self._parts: list[bytes] = []
        self._got = 0
        self._head = b""
        self._length: int | None = None
        self._ok = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (uvloop's is no subclass of asyncio's)."""
        self._transport = cast(asyncio.Transport, transport)

    def send(self, intended_at: float) -> None:
        """Send the request that was due at this time."""
        if self._transport is None:
            raise ConnectionError("send on a connection that has been lost")
        self.intended_at, self.first_at = intended_at, 0.0
        self._begin()
        self._waiting = True
        self._transport.write(self._target.request)

    def data_received(self, data: bytes) -> None:
        """Find the end of the head, then the end of the body."""
        if self._head == b"":
            self._parts.append(data)
            data = b"".join(self._parts)
            end = data.find(HEAD_END)
            if end < 0:
                self._parts = [data]
                return
            self._parts = []
            self._read_head(data[: end + 2])
            data = data[end + 4 :]
        if data:
            if not self.first_at:
                self.first_at = time.perf_counter()
            self._parts.append(data)
            self._got += len(data)
        if self._is_complete(data):
            self._finish(self._ok)

    def _read_head(self, head: bytes) -> None:
        self._head = head
        self._ok = head.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
        for line in head.lower().split(b"\r\n")[1:]:
            if line.startswith(b"content-length:"):
                self._length = int(line[15:])

    def _is_complete(self, data: bytes) -> bool:
        if self._length is not None:
            return self._got >= self._length
        if len(data) < len(LAST_CHUNK) < self._got:
            data = b"".join(self._parts[-8:])
        return data.endswith(LAST_CHUNK)

    def _finish(self, ok: bool) -> None:
        self.body = b"".join(self._parts)
        self._waiting = False
        self._done(self, ok)

    def connection_lost(self, exc: Exception | None) -> None:
        """A request under way has failed."""
        self._transport = None
        if self._waiting:
            self._finish(False)

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


async def connect(target: Target, done: Callable[[Connection, bool], None]) -> Connection:
    """A new connection to the target."""
    loop = asyncio.get_running_loop()
    _, made = await loop.create_connection(
        lambda: Connection(target, done), target.host, target.port
    )
    return made
