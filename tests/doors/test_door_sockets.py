"""The door on real sockets and the loop it is made for, before a scripted replica."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from salver.doors.door import HttpDoor
from salver.doors.server import listen
from salver.errors import ReplicaDiedError
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.status import RouteView
from salver.wire.frames import HTTP, STREAM
from tests.doors.door_fakes import OK, FakeRouter, FakeSlab, chunks

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
LIMIT = 60.0

uvloop.new_event_loop().close()  # the first loop of a process opens what all of them share


class Arrivals(FakeRouter):
    """Tells when a call has arrived, and when one was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: asyncio.Queue[Any] = asyncio.Queue()
        self.dropped: asyncio.Queue[Any] = asyncio.Queue()

    def submit(self, call: Any) -> None:
        super().submit(call)
        self.arrived.put_nowait(call)

    def cancel(self, call: Any) -> None:
        super().cancel(call)
        self.dropped.put_nowait(call)


class Stage:
    def __init__(self, settings: HttpSettings) -> None:
        self.router = Arrivals()
        self.slabs: list[FakeSlab] = []
        self.writers: list[asyncio.StreamWriter] = []
        router: Any = self.router
        lend: Any = self.lend
        self.door = HttpDoor(settings, asyncio.get_running_loop(), lambda _id: router, lend)
        self.door.apply([RouteView("/", "app", DeploymentId("d", "app"))])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]

    def lend(self, size: int) -> FakeSlab:
        self.slabs.append(FakeSlab(size))
        return self.slabs[-1]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def next_call(self) -> Any:
        return await asyncio.wait_for(self.router.arrived.get(), LIMIT)


def play(scene: Callable[[Stage], Awaitable[None]], settings: HttpSettings | None = None) -> None:
    """Run a scene on uvloop."""

    async def run() -> None:
        stage = Stage(settings or HttpSettings(drain_timeout_s=5))
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: errors.append(what))
        # The keeper's end of the listener stays open, as it does in life.
        server = await listen(stage.door, stage.listener.dup())
        try:
            await asyncio.wait_for(scene(stage), LIMIT)
        finally:
            server.close()
            stage.door.abort()
            await stage.door.drain()
            stage.listener.close()
            for writer in stage.writers:
                await close(writer)
        assert errors == []

    uvloop.run(run())


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def test_requests_and_replies_over_tcp() -> None:
    async def scene(stage: Stage) -> None:
        reader, writer = await stage.connect()
        stage.router.answer = OK
        for _ in range(3):
            writer.write(GET)
            assert await reader.readexactly(len(OK)) == OK
        writer.write(GET * 200)
        assert await reader.readexactly(len(OK) * 200) == OK * 200

    play(scene)


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 1, 600_000])
def test_the_kernel_writes_a_large_body_into_the_slab(size: int) -> None:
    """And with it, where that has room, the first byte of the next request."""

    async def scene(stage: Stage) -> None:
        reader, writer = await stage.connect()
        stage.router.answer = None
        body = (bytes(range(256)) * 4096)[:size]
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
        writer.write(body + GET)
        call = await stage.next_call()
        assert bytes(stage.slabs[0].view) == body
        call.answered(HTTP, OK)
        following = await stage.next_call()
        assert following.head.raw == GET
        following.answered(HTTP, OK)
        assert await reader.readexactly(len(OK) * 2) == OK * 2

    play(scene)


def test_a_client_that_hangs_up_is_noticed_at_once() -> None:
    async def scene(stage: Stage) -> None:
        _, writer = await stage.connect()
        writer.write(GET)
        call = await stage.next_call()
        await close(writer)
        assert await stage.router.dropped.get() is call

    play(scene)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_client_that_leaves_while_its_upload_waits_is_noticed_at_once(how: str) -> None:
    """The handler has not begun to read, so nothing is read from the client either."""

    async def scene(stage: Stage) -> None:
        _, writer = await stage.connect()
        stage.router.answer = None
        paused = asyncio.Event()
        watch = stage.door.hangups.watch

        def watching(connection: Any) -> None:
            watch(connection)
            paused.set()

        stage.door.hangups.watch = watching  # type: ignore[method-assign]
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n")
        writer.write(b"x" * 60_000)
        call = await stage.next_call()
        await paused.wait()
        if how == "abort":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        assert await asyncio.wait_for(stage.router.dropped.get(), LIMIT) is call

    play(scene)


def test_a_refusal_can_be_read_by_a_client_that_is_still_sending() -> None:
    """No reset destroys the reply, though much of the body is never read."""

    async def scene(stage: Stage) -> None:
        reader, writer = await stage.connect()
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n")
        writer.write(b"x" * 3_000_000)
        reply = await reader.read()
        assert reply.startswith(b"HTTP/1.1 413 ")

    play(scene, HttpSettings(max_body_bytes=1000))


def test_a_cut_reply_is_an_error_to_the_client() -> None:
    async def scene(stage: Stage) -> None:
        reader, writer = await stage.connect()
        writer.write(GET)
        call = await stage.next_call()
        chunks(call, b"3\r\nabc\r\n")
        call.failed(ReplicaDiedError("r"))
        reply = await reader.read()
        assert reply.endswith(b"3\r\nabc\r\n"), "complete but for its end"

    play(scene)


def test_a_cut_reply_that_would_end_with_the_connection_is_reset() -> None:
    async def scene(stage: Stage) -> None:
        reader, writer = await stage.connect()
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        call = await stage.next_call()
        call.answered(HTTP | STREAM, b"HTTP/1.1 200 OK\r\n\r\nabc")
        call.failed(ReplicaDiedError("r"))
        with pytest.raises(ConnectionResetError):
            await reader.read()

    play(scene)


def test_what_a_client_does_not_read_is_not_produced() -> None:
    """With credit the replica would send a gigabyte; a sleeping client costs a few megabytes."""

    async def scene(stage: Stage) -> None:
        _, writer = await stage.connect()
        writer.write(GET)
        call = await stage.next_call()
        chunks(call)
        sent, allowed = 0, 64
        chunk = b"x" * 65536
        while sent < allowed:
            call.chunk(HTTP, chunk)
            sent += 1
            if sent % 16 == 0:
                await asyncio.sleep(0)
            allowed = 64 + sum(f[2] for f in stage.router.of(9))
        assert sent < 1000

    play(scene)


def test_a_closing_door_lets_requests_finish_and_refuses_nobody() -> None:
    async def scene(stage: Stage) -> None:
        server = await listen(stage.door, stage.listener.dup())
        reader, writer = await stage.connect()
        idle_reader, idle_writer = await stage.connect()
        idle_writer.write(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await idle_reader.readuntil(b"success")
        writer.write(GET)
        call = await stage.next_call()
        server.close()
        draining = asyncio.ensure_future(stage.door.drain())
        assert await idle_reader.read() == b""
        call.answered(HTTP, OK)
        reply = await reader.read()
        assert b"\r\nconnection: close\r\n" in reply
        await draining

    play(scene)
