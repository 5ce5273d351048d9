"""A door as an ASGI app, before a scripted replica."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from salver.doors.asgi_bridge import AsgiBridge
from salver.doors.door import HttpDoor
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.status import RouteView
from salver.wire.frames import BODY, CHUNK, END, HTTP, STREAM
from tests.doors.door_fakes import FakeRouter

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer Starlettes would rather have another HTTP library
    from starlette.testclient import TestClient


class EchoConn:
    """A replica that answers with what it was sent."""

    def __init__(self, router: EchoRouter) -> None:
        self.router = router
        self.body = b""
        self.socket: ServerProtocol | None = None

    def send(self, type: int, flags: int, aux: int, call_id: int, payload: bytes = b"") -> None:  # noqa: A002
        loop = asyncio.get_running_loop()
        call = self.router.calls[-1]
        if type == CHUNK and self.socket is not None:
            self.speak(call, payload)
        elif type == CHUNK:
            self.body += payload
        elif type == END and self.socket is None:
            loop.call_soon(self.answer, call, self.body)
        elif flags & STREAM:
            self.socket = ServerProtocol()
            self.speak(call, payload[: payload.rfind(b"\n") + 1])
            loop.call_soon(call.credit, 1000)
        elif flags & BODY:
            self.body = b""
            loop.call_soon(call.credit, 1000)
        elif type == 3:
            loop.call_soon(self.answer, call, payload[aux:] or payload)

    def answer(self, call: Any, body: bytes) -> None:
        reply = b"HTTP/1.1 200 OK\r\nx-a: b\r\ncontent-length: %d\r\n\r\n" % len(body)
        if call.head.method == b"HEAD":
            call.answered(HTTP, reply)
        elif call.head.path == "/stream":
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
            call.answered(HTTP | STREAM, head)
            call.chunk(HTTP, b"2\r\nab\r\n")
            call.chunk(HTTP, b"2\r\ncd\r\n0\r\n\r\n")
            call.ended(0)
        else:
            call.answered(HTTP, reply + body)

    def speak(self, call: Any, data: bytes) -> None:
        socket = self.socket
        assert socket is not None
        socket.receive_data(data)
        for event in socket.events_received():
            if isinstance(event, Request):
                socket.send_response(socket.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                socket.send_text(b"echo " + event.data)
        out = b"".join(socket.data_to_send())
        loop = asyncio.get_running_loop()
        if call.begun:
            loop.call_soon(call.chunk, HTTP, out)
        else:
            call.begun = True
            loop.call_soon(call.answered, HTTP | STREAM, out)
        if socket.close_expected():
            loop.call_soon(call.ended, 0)


class EchoRouter(FakeRouter):
    def __init__(self) -> None:
        super().__init__()
        self.link.conn = EchoConn(self)  # type: ignore[assignment]


def bridge(loop: asyncio.AbstractEventLoop) -> AsgiBridge:
    router: Any = EchoRouter()
    door = HttpDoor(HttpSettings(), loop, lambda _id: router)
    door.apply([RouteView("/", "app", DeploymentId("d", "app"))])
    return AsgiBridge(door, loop)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(bridge(asyncio.get_running_loop()))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


async def test_a_client_on_the_same_loop(client: httpx.AsyncClient) -> None:
    reply = await client.get("/a b?c=d", headers={"x-one": "two"})
    assert reply.status_code == 200
    assert reply.headers["x-a"] == "b"
    assert reply.content.startswith(b"GET /a%20b?c=d HTTP/1.1\r\nhost: app\r\n")
    assert b"\r\nx-one: two\r\n" in reply.content
    assert (await client.post("/", content=b"body")).content == b"body"
    assert (await client.get("/stream")).text == "abcd"
    assert (await client.head("/")).content == b""
    assert (await client.get("/-/routes")).json() == {"/": "app"}


async def test_an_upload_in_pieces(client: httpx.AsyncClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * 100_000

    assert (await client.post("/", content=pieces())).content == b"x" * 300_000


@pytest.fixture
def elsewhere() -> Iterator[TestClient]:
    """A door on a loop of its own, reached from a client with another."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with TestClient(bridge(loop)) as client:
        yield client
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_a_client_on_another_loop(elsewhere: TestClient) -> None:
    assert elsewhere.post("/", content=b"abc").content == b"abc"
    assert elsewhere.get("/stream").text == "abcd"


def test_a_websocket_through_the_bridge(elsewhere: TestClient) -> None:
    with elsewhere.websocket_connect("/ws?a=b") as socket:
        socket.send_text("one")
        assert socket.receive_text() == "echo one"
        socket.send_text("two")
        assert socket.receive_text() == "echo two"


async def test_nothing_is_begun_and_left_for_a_loop_that_has_ended() -> None:
    ended = asyncio.new_event_loop()
    app = bridge(ended)
    ended.close()
    with pytest.raises(RuntimeError, match="closed"):
        await app({"type": "http"}, _never, _never)
    gc.collect()  # a coroutine that was never awaited would be told now


async def _never(*_: Any) -> Any:
    raise AssertionError
