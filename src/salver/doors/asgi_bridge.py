"""A door as an ASGI app: any ASGI test client reaches an app in process, over the real protocol."""

from __future__ import annotations

import asyncio
import concurrent.futures
from asyncio.futures import _chain_future  # type: ignore[attr-defined]
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, Final

import httptools

from salver.doors.asgi_websocket import serve_websocket
from salver.doors.door import HttpDoor
from salver.doors.memory import MemoryClient

__all__ = ("AsgiBridge",)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# The bridge frames the body itself.
_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding", b"connection", b"expect"))


class AsgiBridge:
    """`app = AsgiBridge(door)`: to be given to httpx, Starlette's TestClient, or an ASGI server."""

    def __init__(self, door: HttpDoor, loop: asyncio.AbstractEventLoop) -> None:
        self._door = door
        self._loop = loop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif asyncio.get_running_loop() is self._loop:
            await self._serve(scope, receive, send)
        else:
            await self._serve_elsewhere(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope.get("client")
        client = MemoryClient(
            self._door.protocol(), self._loop, (peer[0], peer[1]) if peer is not None else None
        )
        try:
            if scope["type"] == "websocket":
                await serve_websocket(client, scope, receive, send)
            else:
                await _serve_http(client, scope, receive, send)
        finally:
            client.close()

    async def _serve_elsewhere(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The test client has a loop of its own: the door stays on the door's."""
        here = asyncio.get_running_loop()

        async def receive_there() -> Message:
            message: Message = await _on(here, receive)
            return message

        async def send_there(message: Message) -> None:
            await _on(here, partial(send, message))

        await _on(self._loop, partial(self._serve, scope, receive_there, send_there))


async def _on(loop: asyncio.AbstractEventLoop, call: Callable[[], Awaitable[Any]]) -> Any:
    """What it gives, called on that loop; for one that has ended, nothing is begun and left."""
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()

    async def run() -> Any:
        return await call()

    loop.call_soon_threadsafe(lambda: _chain_future(loop.create_task(run()), done))
    return await asyncio.wrap_future(done)


async def _live(receive: Receive, send: Send) -> None:
    """The app's own lifespan is its replicas'; there is nothing to do here."""
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _serve_http(client: MemoryClient, scope: Scope, receive: Receive, send: Send) -> None:
    pump = asyncio.ensure_future(_pump(client, scope, receive))
    reply = _Reply(scope["method"])
    try:
        while not reply.complete:
            data = await client.receive()
            if data:
                reply.feed(data)
            else:
                reply.end(cut=client.cut)
            for message in reply.taken():
                await send(message)
    finally:
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


async def _pump(client: MemoryClient, scope: Scope, receive: Receive) -> None:
    """The request's head and body; afterwards, wait for the client to go."""
    first = await receive()
    if first["type"] != "http.request":
        client.close()
        return
    body, more = first.get("body", b""), first.get("more_body", False)
    length = dict(scope["headers"]).get(b"content-length")
    if more and not body and length is None:  # so httpx sends requests without a body
        following = await receive()
        body, more = following.get("body", b""), following.get("more_body", False)
    chunked = more and length is None
    if length is None and body:
        length = b"%d" % len(body)
    framing = b"transfer-encoding: chunked" if chunked else length and b"content-length: " + length
    await client.send(_head(scope, framing))
    while True:
        if body:
            await client.send(_chunk(body) if chunked else body)
        if not more:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            client.close()
            return
        body, more = message.get("body", b""), message.get("more_body", False)
    if chunked:
        await client.send(b"0\r\n\r\n")
    while (await receive())["type"] != "http.disconnect":
        pass
    client.close()


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def _head(scope: Scope, framing: bytes | None) -> bytes:
    raw_path = scope.get("raw_path") or scope["path"].encode()
    target = raw_path.partition(b"?")[0]
    if scope.get("query_string"):
        target += b"?" + scope["query_string"]
    lines = [scope["method"].encode() + b" " + target + b" HTTP/1.1"]
    headers = [(name, value) for name, value in scope["headers"] if name.lower() not in _FRAMING]
    if all(name.lower() != b"host" for name, _ in headers):
        headers.insert(0, (b"host", b"testserver"))
    lines += [name + b": " + value for name, value in headers]
    if framing is not None:
        lines.append(framing)
    return b"\r\n".join(lines) + b"\r\n\r\n"


class _Reply:
    """A rendered reply, read back into ASGI messages."""

    def __init__(self, method: str) -> None:
        self.complete = False
        self._parser = httptools.HttpResponseParser(self)
        self._bodiless = method == "HEAD"
        self._headers: list[tuple[bytes, bytes]] = []
        self._messages: list[Message] = []
        self._started = False
        self._delimited = False

    def feed(self, data: bytes) -> None:
        if not self.complete:
            self._parser.feed_data(data)

    def end(self, *, cut: bool) -> None:
        """The door has closed the connection."""
        if self.complete:
            return
        if cut or not self._started or self._delimited:
            raise ConnectionError("The reply was cut short.")
        self.on_message_complete()

    def taken(self) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages

    # ---- what the parser calls

    def on_message_begin(self) -> None:
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._delimited = self._delimited or name in (b"content-length", b"transfer-encoding")
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            return
        self._started = True
        headers = [(name, value) for name, value in self._headers if name != b"transfer-encoding"]
        self._messages.append({"type": "http.response.start", "status": status, "headers": headers})
        if self._bodiless:
            self.on_message_complete()

    def on_body(self, body: bytes) -> None:
        if not self._bodiless:
            self._messages.append({"type": "http.response.body", "body": body, "more_body": True})

    def on_message_complete(self) -> None:
        if self._started and not self.complete:
            self.complete = True
            self._messages.append({"type": "http.response.body", "body": b"", "more_body": False})
