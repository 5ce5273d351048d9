"""The floor: bare ASGI (`app`), and RSGI (`rsgi`) for Granian. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HELLO = b'{"result":"Hello world!"}'
CHUNKS = 100
EVENT = b"data: token 0123456789\n\n"


def _head(length: int) -> Message:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(length).encode()),
    ]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def _answer(send: Send, body: bytes) -> None:
    await send(_head(len(body)))
    await send({"type": "http.response.body", "body": body})


async def _events(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": EVENT, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def app(scope: Message, receive: Receive, send: Send) -> None:
    """Every case's answer, by path, with nothing in between."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["path"] == "/sse":
        await _events(send)
    elif scope["path"] == "/upload":
        await _answer(send, b'{"length":%d}' % len(await _body(receive)))
    elif scope["path"] == "/blocked":
        time.sleep(0.010)  # noqa: ASYNC251 - blocking is the point
        await _answer(send, HELLO)
    else:
        await _answer(send, HELLO)


async def rsgi(scope: Any, protocol: Any) -> None:
    """The hello answer in Granian's own interface."""
    protocol.response_bytes(200, [("content-type", "application/json")], HELLO)
