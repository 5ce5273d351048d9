"""WebSockets for test clients: ASGI messages in and out, the real handshake and frames between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from salver.doors.memory import MemoryClient

__all__ = ("serve_websocket",)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_OWN: Final = frozenset(("host", "upgrade", "connection"))
_NO_STATUS: Final = 1005
_ABNORMAL: Final = 1006


async def serve_websocket(
    client: MemoryClient, scope: MutableMapping[str, Any], receive: Receive, send: Send
) -> None:
    """Carry one WebSocket from its handshake to its end."""
    await receive()  # websocket.connect
    socket = _Socket(client, scope, send)
    await socket.connect(scope)
    pump: asyncio.Future[None] | None = None
    try:
        while await socket.read():
            if pump is None and socket.accepted:
                pump = asyncio.ensure_future(socket.pump(receive))
    finally:
        if pump is not None:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)


def _protocol(scope: MutableMapping[str, Any]) -> ClientProtocol:
    target = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
    query = scope.get("query_string", b"").decode("latin-1")
    uri = f"ws://testserver{target}" + (f"?{query}" if query else "")
    return ClientProtocol(parse_uri(uri), subprotocols=list(scope.get("subprotocols", [])) or None)


class _Socket:
    """The WebSocket's client side, between a test client's messages and the door's bytes."""

    def __init__(self, client: MemoryClient, scope: MutableMapping[str, Any], send: Send) -> None:
        self._client = client
        self._protocol = _protocol(scope)
        self._send = send
        self._parts: list[bytes] = []
        self._text = False
        self._takes_replies = "websocket.http.response" in scope.get("extensions", {})
        self.accepted = False
        self._over = False

    async def connect(self, scope: MutableMapping[str, Any]) -> None:
        request = self._protocol.connect()
        for name, value in scope["headers"]:
            text = name.decode("latin-1")
            if text.lower() not in _OWN and not text.lower().startswith("sec-websocket"):
                request.headers[text] = value.decode("latin-1")
        self._protocol.send_request(request)
        await self._flush()

    async def pump(self, receive: Receive) -> None:
        """What the test client sends."""
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code = message.get("code", _NO_STATUS)  # which is no code that a frame may hold
                self._protocol.send_close(
                    None if code == _NO_STATUS else code, message.get("reason") or ""
                )
                await self._flush()
                return
            if message.get("text") is not None:
                self._protocol.send_text(message["text"].encode())
            else:
                self._protocol.send_binary(message["bytes"])
            await self._flush()

    async def read(self) -> bool:
        """Take what came from the door; False once the WebSocket is over."""
        data = await self._client.receive()
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                await self._answered(event)
            elif isinstance(event, Frame):
                await self._frame(event)
        await self._flush()
        if not data and not self._over:
            await self._close(_ABNORMAL, "")
        return not self._over

    async def _answered(self, response: Response) -> None:
        headers = [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in response.headers.raw_items()
            if name.lower() not in _OWN and not name.lower().startswith("sec-websocket")
        ]
        if self._protocol.handshake_exc is not None:
            await self._denied(response, headers)
            return
        self.accepted = True
        await self._send(
            {
                "type": "websocket.accept",
                "subprotocol": self._protocol.subprotocol,
                "headers": headers,
            }
        )

    async def _denied(self, response: Response, headers: list[tuple[bytes, bytes]]) -> None:
        """As the HTTP reply that it is, where the test client takes one."""
        if not self._takes_replies:
            await self._close(_ABNORMAL, f"refused: {response.status_code}")
            return
        self._over = True
        kind = "websocket.http.response"
        status, body = response.status_code, bytes(response.body or b"")
        await self._send({"type": f"{kind}.start", "status": status, "headers": headers})
        await self._send({"type": f"{kind}.body", "body": body, "more_body": False})

    async def _frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            received = self._protocol.close_rcvd
            if received is not None:
                await self._close(received.code, received.reason)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            if frame.opcode is not Opcode.CONT:
                self._text = frame.opcode is Opcode.TEXT
            self._parts.append(bytes(frame.data))
            if frame.fin:
                data, self._parts = b"".join(self._parts), []
                kind = {"text": data.decode()} if self._text else {"bytes": data}
                await self._send({"type": "websocket.send", **kind})

    async def _close(self, code: int, reason: str) -> None:
        if not self._over:
            self._over = True
            await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                await self._client.send(data)
