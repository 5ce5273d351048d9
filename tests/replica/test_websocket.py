"""WebSockets, spoken here by an independent client over the byte tunnel."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from typing import Any

import pytest
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from salver.wire import frames
from tests.replica.scripted import ScriptedCaller, serving

app = FastAPI()


class Chat:
    __salver_asgi__ = app

    def __init__(self, name: str = "chat") -> None:
        self.name = name
        self.left: list[Any] = []
        self.gone = asyncio.Event()

    @app.websocket("/echo")
    async def echo(self, websocket: WebSocket) -> None:
        await websocket.accept(headers=[(b"x-name", self.name.encode())])
        try:
            while True:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    raise WebSocketDisconnect(message["code"], message.get("reason"))
                if message.get("text") is not None:
                    await websocket.send_text(message["text"])
                else:
                    await websocket.send_bytes(message["bytes"])
        except WebSocketDisconnect as end:
            self.left.append((end.code, end.reason))
            self.gone.set()

    @app.websocket("/closes/{code}")
    async def closes(self, websocket: WebSocket, code: int) -> None:
        await websocket.accept(subprotocol="v1")
        await websocket.send_text(self.name)
        await websocket.close(code, "because")

    @app.websocket("/denies")
    async def denies(self, websocket: WebSocket) -> None:
        await websocket.close()

    @app.websocket("/breaks")
    async def breaks(self, websocket: WebSocket) -> None:
        await websocket.accept()
        raise ValueError("secret")

    @app.websocket("/panics")
    async def panics(self, websocket: WebSocket) -> None:
        await websocket.accept()
        raise BaseException("secret")  # as what is written in Rust does

    @app.websocket("/floods")
    async def floods(self, websocket: WebSocket) -> None:
        await websocket.accept()
        for _ in range(200):
            await websocket.send_bytes(b"x" * 1000)

    @app.websocket("/pushes")
    async def pushes(self, websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("news")
            await asyncio.sleep(0)

    @app.websocket("/forgets")
    async def forgets(self, websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.receive_text()


class Client:
    """The other end: `websockets` as a client."""

    def __init__(self, caller: ScriptedCaller, path: str, **options: Any) -> None:
        self.caller = caller
        self.protocol = ClientProtocol(parse_uri(f"ws://test{path}"), **options)
        self.protocol.send_request(self.protocol.connect())
        head = b"".join(self.protocol.data_to_send())
        self.call = caller.request(head, flags=frames.BODY | frames.STREAM)
        self.seen = 0
        self.events: list[Any] = []
        self.ended = False

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.caller.frame(frames.CHUNK, call_id=self.call, payload=data)

    async def next(self) -> Any:
        """The next thing from the server: a Response, a Frame, or None at the end."""
        while not self.events and not self.ended:
            fresh = await self.caller.conn.until(lambda sent: sent[self.seen :])
            self.seen += len(fresh)
            for frame in fresh:
                if frame.call_id != self.call:
                    continue
                if frame.type == frames.CHUNK:
                    self.caller.frame(frames.CREDIT, 0, 1, self.call)
                if frame.type in (frames.RES, frames.CHUNK):
                    self.protocol.receive_data(frame.bytes)
                whole = frame.type == frames.RES and not frame.flags & frames.STREAM
                self.ended = self.ended or whole or frame.type == frames.END
            if self.ended:
                self.protocol.receive_eof()
            self.events += self.protocol.events_received()
            self.flush()
        return self.events.pop(0) if self.events else None

    async def rest(self) -> list[Any]:
        found = []
        while (event := await self.next()) is not None:
            found.append(event)
        return found


async def test_a_connection_that_is_opened_and_closed_logs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)  # as in a replica
    async with serving(Chat, "here") as caller:
        await Client(caller, "/closes/1000").rest()
    assert caplog.text == ""


async def test_echo_of_text_bytes_and_fragments() -> None:
    async with serving(Chat, "here") as caller:
        client = Client(caller, "/echo")
        response = await client.next()
        assert isinstance(response, Response)
        assert response.status_code == 101
        assert response.headers["x-name"] == "here"
        assert response.headers["x-request-id"]
        client.protocol.send_text("héllo".encode())
        client.flush()
        assert (await client.next()).data == "héllo".encode()
        client.protocol.send_binary(b"\x00\x01", fin=False)
        client.protocol.send_continuation(b"\x02", fin=True)
        client.flush()
        frame = await client.next()
        assert (frame.opcode, frame.data) == (Opcode.BINARY, b"\x00\x01\x02")
        client.protocol.send_ping(b"p")
        client.flush()
        assert (await client.next()).opcode is Opcode.PONG
        client.protocol.send_close(1001, "bye")
        client.flush()
        await client.rest()
        assert caller.side.host.object.target.left == [(1001, "bye")]
        assert caller.side.host.ongoing == 0


@pytest.mark.parametrize("size", [0, 2])
async def test_fragments_without_end_cost_no_memory_but_their_bytes(size: int) -> None:
    fragment = bytes([0, 0x80 | size, 0, 0, 0, 0]) + b"l" * size  # a continuation, masked
    async with serving(Chat, "here") as caller:
        client = Client(caller, "/echo")
        await client.next()
        client.protocol.send_text(b"he", fin=False)
        client.flush()
        tracemalloc.start()
        try:
            for _ in range(100):
                client.caller.frame(frames.CHUNK, call_id=client.call, payload=fragment * 500)
            client.protocol.send_ping(b"p")
            client.flush()
            assert (await client.next()).opcode is Opcode.PONG
            assert tracemalloc.get_traced_memory()[0] < 300_000 + 50_000 * size
        finally:
            tracemalloc.stop()
        client.protocol.send_continuation(b"lo", fin=True)
        client.flush()
        assert (await client.next()).data == b"he" + b"l" * 50_000 * size + b"lo"


async def test_messages_are_compressed_where_the_client_can() -> None:
    async with serving(Chat) as caller:
        client = Client(caller, "/echo", extensions=[ClientPerMessageDeflateFactory()])
        assert "permessage-deflate" in (await client.next()).headers["sec-websocket-extensions"]
        client.protocol.send_text(b"a" * 100_000)
        client.flush()
        assert (await client.next()).data == b"a" * 100_000
        assert sum(len(f.bytes) for f in caller.conn.sent) < 2000


async def test_the_app_closes_with_its_code_and_a_subprotocol_it_chose() -> None:
    async with serving(Chat) as caller:
        client = Client(caller, "/closes/4001", subprotocols=[Subprotocol("v1")])
        response = await client.next()
        assert response.headers["sec-websocket-protocol"] == "v1"
        text, close = await client.rest()
        assert (text.data, close.opcode) == (b"chat", Opcode.CLOSE)
        assert (client.protocol.close_code, client.protocol.close_reason) == (4001, "because")
        assert caller.conn.sent[-1].flags & frames.CLOSE


async def test_a_handshake_that_the_app_denies_is_a_403() -> None:
    async with serving(Chat) as caller:
        for path in ("/denies", "/nowhere"):
            response = await Client(caller, path).next()
            assert (response.status_code, caller.side.host.ongoing) == (403, 0)


@pytest.mark.parametrize(
    ("path", "error"), [("/breaks", "ValueError"), ("/panics", "BaseException")]
)
async def test_an_error_after_accept_closes_with_1011(
    path: str, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Chat) as caller:
        client = Client(caller, path)
        await client.rest()
        assert client.protocol.close_code == 1011
    assert f"{error}: secret" in caplog.text


async def test_what_is_no_handshake_is_a_4xx() -> None:
    async with serving(Chat) as caller:
        head = "GET /echo HTTP/1.1\nhost: x\nupgrade: websocket\nconnection: upgrade"
        call = caller.request(head, flags=frames.BODY | frames.STREAM)
        assert (await caller.reply(call)).status in (400, 426)


async def test_text_that_is_not_utf_8_closes_with_1007() -> None:
    async with serving(Chat) as caller:
        client = Client(caller, "/echo")
        await client.next()
        client.protocol.send_text(b"\xff\xfe")
        client.flush()
        await client.rest()
        assert client.protocol.close_code == 1007


@pytest.mark.parametrize("how", [frames.END, frames.CANCEL])
async def test_a_client_that_vanishes_is_a_disconnect(how: int) -> None:
    async with serving(Chat) as caller:
        client = Client(caller, "/echo")
        await client.next()
        caller.frame(how, call_id=client.call)
        chat = caller.side.host.object.target
        await chat.gone.wait()
        assert [code for code, _ in chat.left] == [1006]
        assert await caller.side.host.drain(10)


async def test_an_app_that_only_sends_ends_when_its_client_vanishes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Chat) as caller:
        client = Client(caller, "/pushes")
        await client.next()
        caller.frame(frames.END, call_id=client.call)
        caller.frame(frames.CREDIT, 0, 64, client.call)
        assert await caller.side.host.drain(10)
        assert caller.side.host.errors == 0
    assert caplog.text == ""


async def test_an_app_that_forgets_that_clients_leave_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Chat) as caller:
        client = Client(caller, "/forgets")
        await client.next()
        client.protocol.send_close(1000)
        client.flush()
        await client.rest()
        assert (client.protocol.close_code, caller.side.host.errors) == (1000, 0)
    assert caplog.text == ""


async def test_a_client_that_does_not_read_holds_the_app_back() -> None:
    async with serving(Chat) as caller:
        client = Client(caller, "/floods")
        await caller.conn.until(lambda sent: sum(f.type == frames.CHUNK for f in sent) == 64)
        for _ in range(20):
            await asyncio.sleep(0)
        assert sum(f.type == frames.CHUNK for f in caller.conn.sent) == 64
        messages = [e for e in await client.rest() if isinstance(e, Frame)]
        assert sum(m.opcode is Opcode.BINARY for m in messages) == 200


async def test_a_deployment_without_websockets_says_so() -> None:
    async def handler() -> str:
        return "x"

    async with serving(handler) as caller:
        response = await Client(caller, "/").next()
        assert response.status_code == 426
