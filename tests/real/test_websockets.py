"""WebSockets under load, over real processes: many, large, slow, left, and cut off."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

import salver
from tests.real.apps import Journal as Note
from tests.real.rig import PATIENCE_S, Journal, Running

api = FastAPI()
MIB = 1 << 20


@salver.deployment(max_ongoing_requests=400, graceful_shutdown_timeout_s=0.2)
@salver.ingress(api)
class Sockets:
    def __init__(self, journal: str = "") -> None:
        self.note = Note(journal) if journal else print

    @api.websocket("/echo")
    async def echo(self, websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    self.note("left", message["code"])
                    return
                if message.get("text") is not None:
                    await websocket.send_text(message["text"])
                else:
                    await websocket.send_bytes(message["bytes"])
        except WebSocketDisconnect as left:
            self.note("left", left.code)

    @api.websocket("/deaf")
    async def deaf(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("open")
        await asyncio.Event().wait()

    @api.websocket("/flood")
    async def flood(self, websocket: WebSocket) -> None:
        """Two tasks send at once, large messages, faster than anybody reads."""
        await websocket.accept()

        async def send(mark: str) -> None:
            for number in range(10):
                await websocket.send_text(mark * (300_000 + number))

        await asyncio.gather(send("a"), send("b"))
        await websocket.close(4000, "that was all")


@asynccontextmanager
async def opened(running: Running, path: str, **how: Any) -> AsyncIterator[ClientConnection]:
    url = f"ws://127.0.0.1:{running.port}{path}"
    how = {"open_timeout": PATIENCE_S, "ping_timeout": None} | how
    async with connect(url, compression=None, max_size=64 * MIB, **how) as socket:
        yield socket


async def _until_closed(socket: ClientConnection) -> AsyncIterator[str]:
    with suppress(ConnectionClosed):
        while True:
            yield str(await socket.recv())


async def test_hundreds_at_once_each_hear_their_own(running: Running) -> None:
    await running.deploy(Sockets.options(num_replicas=2).bind())

    async def talk(number: int) -> None:
        async with opened(running, "/echo") as socket:
            for turn in range(5):
                await socket.send(f"{number} {turn}")
                assert await socket.recv() == f"{number} {turn}"

    async with asyncio.timeout(2 * PATIENCE_S):
        await asyncio.gather(*(talk(number) for number in range(200)))


async def test_large_messages_pass_and_too_large_ones_close_with_1009(running: Running) -> None:
    await running.deploy(Sockets.bind())
    async with opened(running, "/echo") as socket:
        data = os.urandom(8 * MIB)
        await socket.send(data)
        assert await socket.recv() == data
        text = "ü" * MIB
        await socket.send(text)
        assert await socket.recv() == text
        with suppress(ConnectionClosed):
            await socket.send(bytes(17 * MIB))
        await socket.wait_closed()
        assert socket.close_code == 1009


async def test_two_senders_and_pings_at_a_time_keep_every_message_whole(running: Running) -> None:
    """Of messages that leave in pieces none is torn by another, nor is any of them held up."""
    await running.deploy(Sockets.bind())
    async with asyncio.timeout(PATIENCE_S), opened(running, "/flood", max_queue=1) as socket:
        got: dict[str, list[int]] = {"a": [], "b": []}
        async for message in _until_closed(socket):
            with suppress(ConnectionClosed):
                await socket.ping()
            assert set(message) == {message[0]}
            got[message[0]].append(len(message))
        assert (socket.close_code, socket.close_reason) == (4000, "that was all")
    assert got == {mark: [300_000 + number for number in range(10)] for mark in "ab"}


async def test_an_app_that_does_not_listen_holds_its_client_back(running: Running) -> None:
    await running.deploy(Sockets.bind())
    async with opened(running, "/deaf", close_timeout=0.1) as socket:
        await socket.recv()
        sent = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                while sent < 40:
                    await socket.send(bytes(MIB))
                    sent += 1
        assert sent < 40


@pytest.mark.parametrize("code", [1000, 1001, 4123])
async def test_the_app_hears_the_client_s_code(
    running: Running, journal: Journal, code: int
) -> None:
    await running.deploy(Sockets.bind(journal.path))
    async with opened(running, "/echo") as socket:
        await socket.send("x")
        await socket.recv()
        await socket.close(code)
    assert await journal.next("left") == [str(code)]


async def test_the_end_of_the_replica_closes_with_1012(running: Running) -> None:
    await running.deploy(Sockets.bind())
    async with opened(running, "/echo") as socket:
        await socket.send("x")
        await socket.recv()
        running.kill("Sockets")
        with pytest.raises(ConnectionClosedError):
            await socket.recv()
        assert socket.close_code == 1012
        assert socket.close_reason == "the replica is gone"
    # Another takes its place.
    await running.wait()
    async with asyncio.timeout(PATIENCE_S), opened(running, "/echo") as socket:
        await socket.send("again")
        assert await socket.recv() == "again"


async def test_a_replica_that_dies_in_the_middle_of_a_message_leaves_no_half_of_one(
    running: Running,
) -> None:
    await running.deploy(Sockets.bind())
    async with opened(running, "/flood", max_queue=1) as socket:
        await socket.recv()
        running.kill("Sockets")
        async for message in _until_closed(socket):
            assert set(message) == {message[0]}
            assert len(message) >= 300_000
        assert socket.close_code in (1006, 1012)


async def test_a_deleted_app_lets_go_of_its_sockets(running: Running) -> None:
    await running.deploy(Sockets.bind())
    async with opened(running, "/echo") as socket:
        await socket.send("x")
        await socket.recv()
        async with running.control() as control, asyncio.timeout(PATIENCE_S):
            await control.delete("app")
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(PATIENCE_S):
                await socket.recv()
        assert socket.close_code == 1012


async def test_a_request_that_asks_for_it_outlives_its_client(
    running: Running, journal: Journal
) -> None:
    """`x-request-disconnect-disabled: ?1`, as Ray Serve has it; others are stopped."""
    await running.deploy(Works.bind(journal.path))
    for mark in ("", "x-request-disconnect-disabled: ?1\r\n"):
        async with running.client() as client:
            writer = await client.connect()
            path = "detached" if mark else "attached"
            writer.write(f"GET /{path} HTTP/1.1\r\nhost: x\r\n{mark}\r\n".encode())
            await journal.until(f"begun {path}")
    await journal.until("stopped attached")
    handle = running.handle("Works")
    await handle.let.remote()
    assert await journal.next("done") == ["detached"]


@salver.deployment(max_ongoing_requests=10)
class Works:
    def __init__(self, journal: str) -> None:
        self.note = Note(journal)
        self.gate = asyncio.Event()

    async def __call__(self, request: Any) -> str:
        name: str = request.url.path[1:]
        self.note("begun", name)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.note("stopped", name)
            raise
        self.note("done", name)
        return name

    async def let(self) -> None:
        self.gate.set()
