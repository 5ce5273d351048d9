"""The request that handlers get."""

from __future__ import annotations

import asyncio
import json
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request

from salver.replica.http_request import build_scope, parse_head
from salver.wire import frames
from salver.wire.payload import Segments
from tests.replica.scripted import Frame, serving

HEAD = (
    "POST /a%20b/ä?x=1&x=2&y= HTTP/1.1\n"
    "Host: example.org:81\nX-Twice: one\nx-twice:  two \nCookie: a=1; b=2\nContent-Length: 4"
)


async def test_what_a_handler_can_ask_of_a_request() -> None:
    async def handler(request: Request) -> Any:
        return {
            "method": request.method,
            "path": request.url.path,
            "x": request.query_params.getlist("x"),
            "twice": request.headers.getlist("x-twice"),
            "host": request.url.netloc,
            "cookies": request.cookies,
            "body": (await request.body()).decode(),
            "again": await request.json(),
            "gone": await request.is_disconnected(),
            "root": request.scope["root_path"],
            "state": request.app if "app" in request else None,
        }

    async with serving(handler, route="/p") as caller:
        reply = await caller.http(HEAD, b"1234")
        assert reply.status == 200
        assert json.loads(reply.body) == {
            "method": "POST",
            "path": "/a b/ä",
            "x": ["1", "2"],
            "twice": ["one", "two"],
            "host": "example.org:81",
            "cookies": {"a": "1", "b": "2"},
            "body": "1234",
            "again": 1234,
            "gone": False,
            "root": "/p",
            "state": None,
        }


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (b"192.0.2.7:4711", ("192.0.2.7", 4711)),
        (b"2001:db8::1:80", ("2001:db8::1", 80)),
        (b"", None),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_the_client_s_address_is_what_follows_the_head(
    kind: str, address: bytes, client: tuple[str, int] | None
) -> None:
    head = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n" + address
    scope = build_scope(head, kind, "", None)
    assert scope["client"] == client
    assert scope["headers"] == [(b"host", b"a")]


async def test_a_form_is_read() -> None:
    async def handler(request: Request) -> Any:
        form = await request.form()
        return dict(form)

    async with serving(handler) as caller:
        head = "POST / HTTP/1.1\ncontent-type: application/x-www-form-urlencoded"
        assert (await caller.http(head, b"a=1&b=2")).body == b'{"a":"1","b":"2"}'


async def test_a_form_that_cannot_be_read_is_its_sender_s_mistake() -> None:
    """As in an app of Starlette's, which turns it into this answer itself."""

    async def handler(request: Request) -> Any:
        return dict(await request.form())

    async with serving(handler) as caller:
        head = "POST / HTTP/1.1\ncontent-type: multipart/form-data"
        for parameters, body, said in (
            ("; boundary=b", b"garbage", b"Invalid multipart data."),
            ("", b"--b\r\n", b"Missing boundary in multipart."),
        ):
            reply = await caller.http(head + parameters, body)
            assert (reply.status, reply.body) == (400, said)


async def test_a_large_body_lies_in_shared_memory_until_it_is_asked_for() -> None:
    async def handler(request: Request) -> Any:
        view = await request.buffer()  # type: ignore[attr-defined]
        total = 0
        async for piece in request.stream():
            total += len(piece)
        return [view.nbytes, total, view.obj is not None, type(view).__name__]

    async with serving(handler) as caller:
        head = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n"
        payload = Segments(head, [memoryview(bytes(1_000_000))])
        caller.frame(frames.REQ, frames.HTTP, len(head), 1, payload)
        reply = await caller.reply(1)
        assert reply.body == b'[1000000,1000000,true,"memoryview"]'


async def test_the_body_of_a_large_request_is_bytes() -> None:
    async def handler(request: Request) -> Any:
        first, second = await request.body(), await request.body()
        return [type(first).__name__, len(first), first is second]

    async with serving(handler) as caller:
        head = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n"
        caller.frame(
            frames.REQ, frames.HTTP, len(head), 1, Segments(head, [memoryview(bytes(100_000))])
        )
        assert (await caller.reply(1)).body == b'["bytes",100000,true]'


async def test_the_memory_of_a_large_body_is_free_once_it_is_bytes() -> None:
    memory: Any = np.zeros(100_000, np.uint8)
    held = weakref.ref(memory)

    async def handler(request: Request) -> list[Any]:
        before = held() is not None
        return [before, len(await request.body()), held() is not None]

    async with serving(handler) as caller:
        head = b"POST / HTTP/1.1\r\nhost: x\r\n\r\n"
        payload = Segments(head, [memoryview(memory)])
        del memory
        caller.frame(frames.REQ, frames.HTTP, len(head), 1, payload)
        del payload
        assert (await caller.reply(1)).body == b"[true,100000,false]"


async def test_a_body_that_comes_in_pieces_is_asked_for_as_it_is_read() -> None:
    async def handler(request: Request) -> Any:
        return len(await request.body())

    async with serving(handler) as caller:
        call = caller.request("POST / HTTP/1.1", flags=frames.BODY)
        sent = 0
        while sent < 100:
            await caller.conn.until(lambda all_, sent=sent: _given(all_) > sent)  # type: ignore[misc]
            given = _given(caller.conn.sent)
            assert given - sent <= 16
            for _ in range(given - sent):
                caller.frame(frames.CHUNK, call_id=call, payload=b"x" * 1000)
            sent = given
        caller.frame(frames.END, call_id=call)
        assert (await caller.reply(call)).body == str(sent * 1000).encode()


def _given(sent: list[Frame]) -> int:
    return sum(f.aux for f in sent if f.type == frames.CREDIT)


async def test_nothing_is_asked_for_when_nothing_is_read() -> None:
    async def handler(request: Request) -> str:
        return "no thanks"

    async with serving(handler) as caller:
        call = caller.request("POST / HTTP/1.1", flags=frames.BODY)
        assert (await caller.reply(call)).body == b"no thanks"
        assert not any(f.type == frames.CREDIT for f in caller.conn.sent)


async def test_a_client_that_leaves_within_its_body() -> None:
    raised: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def handler(request: Request) -> None:
        try:
            await request.body()
        except BaseException as error:
            raised.set_result(error)
            raise

    async with serving(handler) as caller:
        call = caller.request("POST / HTTP/1.1", flags=frames.BODY)
        await caller.conn.until(lambda sent: sent)
        caller.frame(frames.CHUNK, call_id=call, payload=b"x")
        caller.frame(frames.CANCEL, call_id=call)
        assert isinstance(await raised, asyncio.CancelledError | ClientDisconnect)


async def test_a_request_can_be_used_after_middleware_style_scope_changes() -> None:
    async def handler(request: Request) -> Any:
        request.scope["path_params"] = {"a": 1}
        return request.path_params

    async with serving(handler) as caller:
        assert (await caller.get()).body == b'{"a":1}'


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", b""),
        ("/a/b?c=d?e", "/a/b", b"c=d?e"),
        ("/%E2%82%AC", "/€", b""),
        ("http://host:1/x?y", "/x", b"y"),
        ("http://host", "/", b""),
        ("*", "*", b""),
    ],
)
def test_a_target_is_split_into_path_and_query(target: str, path: str, query: bytes) -> None:
    head = f"GET {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    scope = build_scope(head, "http", "", None)
    assert (scope["path"], scope["query_string"]) == (path, query)


_token = st.text("abcdefXYZ-123", min_size=1).map(str.encode)
_value = st.text("abc ,;=\t:é", max_size=10).map(lambda s: s.strip(" \t").encode("latin-1"))


@given(st.lists(st.tuples(_token, _value)))
def test_headers_keep_order_duplicates_and_values(headers: list[tuple[bytes, bytes]]) -> None:
    lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    raw = b"GET / HTTP/1.1\r\n" + lines + b"\r\n"
    _, _, version, parsed, client = parse_head(raw + b"127.0.0.1:80")
    assert (version, client) == ("1.1", b"127.0.0.1:80")
    assert parsed == [(name.lower(), value) for name, value in headers]
