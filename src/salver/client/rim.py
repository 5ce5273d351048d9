"""Where the client's one logic meets a thread or an event loop.

The logic is written with `async`. A blocking client gives it parts that block and never suspend, so
that `run_now` has its result in one step, without a loop; an asynchronous one gives it parts that
await.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

from salver.client.deadline import Deadline
from salver.client.errors import DeadlineError

__all__ = ("BlockingRim", "LoopRim", "Pipe", "Rim", "iterate_now", "run_now")

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview


class Pipe(Protocol):
    """Bytes to and from a server. Raises OSError, and DeadlineError in time."""

    peer: tuple[str, int]
    since: float  # when it was used last

    async def send(self, data: Buffer, deadline: Deadline) -> None:
        """All of it."""

    async def receive(self, into: memoryview, deadline: Deadline) -> int:
        """Some of what comes; 0: the end."""

    def stale(self) -> bool:
        """Whether the other end has closed it, or said what nobody asked for."""

    def close(self) -> None:
        """Harmless when it is closed."""


class Rim(Protocol):
    """What a thread and a loop do differently."""

    async def connect(
        self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline
    ) -> Pipe: ...

    async def sleep(self, seconds: float) -> None: ...

    async def wait(self, begin: Callable[[Callable[[], None]], None], deadline: Deadline) -> None:
        """Call `begin(done)`; return when `done` was called, in any thread."""


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise RuntimeError("A part of a blocking client did not block.")


def iterate_now(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """The items of an asynchronous generator that never suspends."""
    try:
        while True:
            try:
                item = run_now(_next(items))
            except StopAsyncIteration:
                return
            yield item
    finally:
        run_now(_closed(items))


async def _next(items: AsyncGenerator[T, None]) -> T:
    return await anext(items)


async def _closed(items: AsyncGenerator[T, None]) -> None:
    await items.aclose()


def _is_stale(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _peer(sock: Any) -> tuple[str, int]:
    return tuple(sock.getpeername()[:2])


# ---- a thread


class BlockingRim:
    """Waits in the calling thread."""

    async def connect(
        self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline
    ) -> Pipe:
        """A new connection."""
        try:
            sock = socket.create_connection((host, port), deadline.left())
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if tls is not None:
                    sock = tls.wrap_socket(sock, server_hostname=host)
            except BaseException:
                sock.close()
                raise
        except TimeoutError:
            raise deadline.passed() from None
        return _BlockingPipe(sock)

    async def sleep(self, seconds: float) -> None:
        """Between two tries."""
        time.sleep(seconds)  # noqa: ASYNC251 - it is what this rim is for

    async def wait(self, begin: Callable[[Callable[[], None]], None], deadline: Deadline) -> None:
        """Until it is done."""
        done = threading.Lock()
        done.acquire()
        begin(lambda: done.release() if done.locked() else None)
        if not done.acquire(timeout=deadline.left()):
            raise deadline.passed()


class _BlockingPipe:
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.peer = _peer(sock)
        self.since = 0.0

    async def send(self, data: Buffer, deadline: Deadline) -> None:
        self._socket.settimeout(deadline.left())
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise deadline.passed() from None

    async def receive(self, into: memoryview, deadline: Deadline) -> int:
        self._socket.settimeout(deadline.left())
        try:
            return self._socket.recv_into(into)
        except TimeoutError:
            raise deadline.passed() from None

    def stale(self) -> bool:
        return _is_stale(self._socket)

    def close(self) -> None:
        self._socket.close()


# ---- an event loop


class LoopRim:
    """Waits on the running loop."""

    async def connect(
        self, host: str, port: int, tls: ssl.SSLContext | None, deadline: Deadline
    ) -> Pipe:
        """A new connection."""
        return await _in_time(self._connected(host, port, tls), deadline)

    async def _connected(self, host: str, port: int, tls: ssl.SSLContext | None) -> Pipe:
        if tls is not None:
            return _StreamPipe(*await asyncio.open_connection(host, port, ssl=tls))
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: OSError | None = None
        for family, kind, protocol, _, address in found:
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.sock_connect(sock, address)
            except OSError as error:
                sock.close()
                failure = error
            except BaseException:
                sock.close()
                raise
            else:
                return _SocketPipe(sock)
        raise failure or OSError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        """Between two tries."""
        await asyncio.sleep(seconds)

    async def wait(self, begin: Callable[[Callable[[], None]], None], deadline: Deadline) -> None:
        """Until it is done."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def done() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, and nobody waits
                loop.call_soon_threadsafe(event.set)

        begin(done)
        await _in_time(event.wait(), deadline)


async def _in_time(work: Awaitable[T], deadline: Deadline) -> T:
    try:
        left = deadline.left()
    except DeadlineError:
        if asyncio.iscoroutine(work):
            work.close()  # nobody will await it
        raise
    try:
        async with asyncio.timeout(left) as limit:
            return await work
    except TimeoutError:
        if limit.expired():
            raise deadline.passed() from None
        raise  # the system's own, which is an OSError


class _SocketPipe:
    """Straight from the socket into the buffer where it is wanted."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.peer = _peer(sock)
        self.since = 0.0

    async def send(self, data: Buffer, deadline: Deadline) -> None:
        await _in_time(asyncio.get_running_loop().sock_sendall(self._socket, data), deadline)

    async def receive(self, into: memoryview, deadline: Deadline) -> int:
        return await _in_time(
            asyncio.get_running_loop().sock_recv_into(self._socket, into), deadline
        )

    def stale(self) -> bool:
        return _is_stale(self._socket)

    def close(self) -> None:
        self._socket.close()


class _StreamPipe:
    """By TLS, which loops do for streams only."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.peer = tuple(writer.get_extra_info("peername")[:2])
        self.since = 0.0

    async def send(self, data: Buffer, deadline: Deadline) -> None:
        self._writer.write(data)
        await _in_time(self._writer.drain(), deadline)

    async def receive(self, into: memoryview, deadline: Deadline) -> int:
        data = await _in_time(self._reader.read(len(into)), deadline)
        into[: len(data)] = data
        return len(data)

    def stale(self) -> bool:
        return self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()
