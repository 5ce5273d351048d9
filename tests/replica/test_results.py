"""What the client gets for what a handler returns or raises."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from salver.errors import (
    BackPressureError,
    DeploymentUnavailableError,
    ReplicaDiedError,
    ReplicaUnavailableError,
    RequestTimeoutError,
)
from salver.wire import frames
from salver.wire.messages import Meta
from tests.replica.scripted import serving


class Point(BaseModel):
    x: int
    y: float


@dataclasses.dataclass
class Pair:
    left: int
    right: Any


async def _answer(value: Any) -> Any:
    return value


RESULTS = [
    ("text", "text/plain; charset=utf-8", b"text"),
    ("häß", "text/plain; charset=utf-8", "häß".encode()),
    (b"\x00raw", "text/plain", b"\x00raw"),
    (bytearray(b"raw"), "text/plain", b"raw"),
    (None, "text/plain", b""),
    ({"a": [1, 2.5, None, True]}, "application/json", b'{"a":[1,2.5,null,true]}'),
    ([{"a": 1}], "application/json", b'[{"a":1}]'),
    ((1, 2), "application/json", b"[1,2]"),
    (7, "application/json", b"7"),
    (True, "application/json", b"true"),
    (float("nan"), "application/json", b"null"),
    (Point(x=1, y=2.0), "application/json", b'{"x":1,"y":2.0}'),
    ([Point(x=1, y=2.0)], "application/json", b'[{"x":1,"y":2.0}]'),
    (Pair(1, Pair(2, None)), "application/json", b'{"left":1,"right":{"left":2,"right":null}}'),
    (np.float32(0.5), "application/json", b"0.5"),
    (np.int64(3), "application/json", b"3"),
    (np.array([[1, 2], [3, 4]]), "application/json", b"[[1,2],[3,4]]"),
    ({"score": np.float64(0.25)}, "application/json", b'{"score":0.25}'),
    (PlainTextResponse("no", 418, {"x-a": "1"}), "text/plain; charset=utf-8", b"no"),
    (JSONResponse({"a": 1}, 201), "application/json", b'{"a":1}'),
]


@pytest.mark.parametrize("form", ["async def", "def"])
@pytest.mark.parametrize(("value", "content_type", "body"), RESULTS)
async def test_results_by_type(form: str, value: Any, content_type: str, body: bytes) -> None:
    async def of_loop() -> Any:
        return value

    def of_thread() -> Any:
        return value

    async with serving(of_loop if form == "async def" else of_thread) as caller:
        reply = await caller.get()
        assert reply.status == getattr(value, "status_code", 200)
        assert (reply["content-type"], reply.body) == (content_type, body)
        assert reply["content-length"] == str(len(body))
        assert len([name for name, _ in reply.headers if name == "date"]) == 1
        assert reply["x-request-id"] == "caller-1"
        assert not reply.closes


async def test_the_clients_request_id_comes_back() -> None:
    async def handler() -> str:
        return "x"

    async with serving(handler) as caller:
        reply = await caller.http("GET / HTTP/1.1", meta=Meta(request_id="mine"))
        assert reply["x-request-id"] == "mine"


async def test_a_client_that_asks_to_close_is_told_so() -> None:
    async def handler() -> Any:
        return {"a": 1}

    async with serving(handler) as caller:
        reply = await caller.http("GET / HTTP/1.1", flags=frames.CLOSE)
        assert (reply["connection"], reply.closes) == ("close", True)


async def test_head_has_the_length_and_no_body() -> None:
    async def handler(request: Request) -> Any:
        if request.url.path == "/response":
            return PlainTextResponse("hello")
        return "hello"

    async with serving(handler) as caller:
        for path in ("/", "/response"):
            reply = await caller.reply(
                caller.request(f"HEAD {path} HTTP/1.1\nhost: x"), head_only=True
            )
            assert (reply["content-length"], reply.body) == ("5", b"")


@pytest.mark.parametrize("status", [204, 304])
async def test_bodiless_statuses_have_no_body_and_no_framing(status: int) -> None:
    async def handler() -> Response:
        return Response(status_code=status)

    async with serving(handler) as caller:
        reply = await caller.get()
        assert (reply.status, reply.body) == (status, b"")
        assert not {"content-length", "transfer-encoding"} & dict(reply.headers).keys()


async def test_a_redirect_goes_as_it_is() -> None:
    async def handler() -> Response:
        return RedirectResponse("/there")

    async with serving(handler) as caller:
        reply = await caller.get()
        assert (reply.status, reply["location"]) == (307, "/there")


async def test_large_results_travel_apart_from_their_head() -> None:
    async def handler() -> bytes:
        return b"x" * 300_000

    async with serving(handler) as caller:
        reply = await caller.get()
        assert reply.body == b"x" * 300_000
        assert [len(part) for part in caller.conn.sent[-1].parts] == [300_000]


async def test_a_file_response_has_the_whole_file_or_the_part_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(bytes(range(256)) * 1000)

    def handler(request: Request) -> Response:
        return FileResponse(file)

    async with serving(handler) as caller:
        reply = await caller.get()
        assert reply.body == file.read_bytes()
        part = await caller.get("/", "range: bytes=10-19")
        assert (part.status, part.body) == (206, bytes(range(10, 20)))
        assert await caller.side.host.drain(10)  # it closes the file after its last chunk


async def test_background_tasks_run_after_the_reply() -> None:
    ran = asyncio.Event()

    async def later() -> None:
        ran.set()

    async def handler() -> Response:
        return PlainTextResponse("ok", background=BackgroundTask(later))

    async with serving(handler) as caller:
        await caller.get()
        await ran.wait()


async def test_an_awaitable_result_is_awaited() -> None:
    def handler() -> Any:
        return _answer({"a": 1})

    async with serving(handler) as caller:
        assert (await caller.get()).body == b'{"a":1}'


# ---- streams


async def of_text() -> AsyncIterator[str]:
    for word in ("a", "b", "", "c"):
        yield word


def of_text_in_a_thread() -> Iterator[str]:
    yield from ("a", "b", "", "c")


async def of_dicts() -> AsyncIterator[Any]:
    yield {"n": 1}
    yield {"n": 2}


@pytest.mark.parametrize("make", [of_text, of_text_in_a_thread, of_dicts])
@pytest.mark.parametrize("returned", [False, True])
async def test_generators_stream(make: Callable[[], Any], returned: bool) -> None:
    async def returning() -> Any:
        return make()

    async with serving(returning if returned else make) as caller:
        reply = await caller.get()
        assert reply["transfer-encoding"] == "chunked"
        if make is of_dicts:
            assert reply["content-type"] == "application/x-ndjson"
            assert reply.body == b'{"n":1}\n{"n":2}\n'
        else:
            assert reply["content-type"] == "text/plain; charset=utf-8"
            assert reply.body == b"abc"


async def test_an_empty_generator_is_an_empty_reply() -> None:
    async def nothing() -> AsyncIterator[str]:
        for word in list[str]():
            yield word

    async with serving(nothing) as caller:
        reply = await caller.get()
        assert (reply.status, reply.body) == (200, b"")


async def test_streaming_response_of_many_chunks() -> None:
    async def handler() -> Response:
        async def items() -> AsyncIterator[str]:
            for n in range(1000):
                yield f"data: {n}\n\n"

        return StreamingResponse(items(), media_type="text/event-stream")

    async with serving(handler) as caller:
        reply = await caller.get()
        assert reply["content-type"] == "text/event-stream; charset=utf-8"
        assert reply.body.decode() == "".join(f"data: {n}\n\n" for n in range(1000))


async def test_the_head_of_a_stream_comes_with_the_first_bytes_and_without_any_by_itself() -> None:
    more = asyncio.Event()

    async def handler(request: Request) -> Response:
        async def items() -> AsyncIterator[bytes]:
            if request.url.path == "/late":
                await more.wait()
            yield b"first"
            await more.wait()

        async def late(scope: Any, receive: Any, send: Any) -> None:
            await StreamingResponse(items())(scope, receive, send)

        class Late(Response):
            __call__ = staticmethod(late)

        return Late() if request.url.path == "/late" else StreamingResponse(items())

    async with serving(handler) as caller:
        for path, end in (("/", b"5\r\nfirst\r\n"), ("/late", b"\r\n\r\n")):
            call = caller.request(f"GET {path} HTTP/1.1")
            head = await caller.conn.until(lambda sent: [f for f in sent if f.call_id == call])  # noqa: B023
            assert [(f.type, f.flags) for f in head] == [(frames.RES, frames.HTTP | frames.STREAM)]
            assert head[0].bytes.endswith(end)
            more.set()
            assert (await caller.reply(call)).body == b"first"
            more.clear()


@pytest.mark.parametrize("length", ["2", "3"])
async def test_what_is_wrong_with_a_stream_before_its_head_has_left_is_a_500(length: str) -> None:
    async def handler() -> Response:
        async def items() -> AsyncIterator[bytes]:
            if length == "2":
                yield b"abc"

        return StreamingResponse(items(), headers={"content-length": length})

    async with serving(handler) as caller:
        assert (await caller.get()).status == 500


async def test_an_http_1_0_client_gets_a_stream_that_ends_with_the_connection() -> None:
    async with serving(of_text) as caller:
        reply = await caller.http("GET / HTTP/1.0", flags=frames.CLOSE)
        assert reply.body == b"abc"
        assert reply.closes
        assert "transfer-encoding" not in dict(reply.headers)


async def test_head_of_a_stream_has_no_body() -> None:
    async with serving(of_text) as caller:
        reply = await caller.reply(caller.request("HEAD / HTTP/1.1"), head_only=True)
        assert reply.body == b""


async def test_head_of_an_endless_stream_ends() -> None:
    async def endless() -> AsyncIterator[str]:
        while True:
            yield "x"

    async def handler(request: Request) -> Any:
        return StreamingResponse(endless()) if request.url.path == "/r" else endless()

    async with serving(handler) as caller:
        for path in ("/", "/r"):
            call = caller.request(f"HEAD {path} HTTP/1.1")
            assert (await caller.reply(call, head_only=True)).body == b""


async def test_chunks_larger_than_a_frame() -> None:
    async def handler() -> AsyncIterator[bytes]:
        yield b"x" * 3_000_000
        yield b"y"

    async with serving(handler) as caller:
        reply = await caller.get()
        assert reply.body == b"x" * 3_000_000 + b"y"


async def test_a_declared_length_keeps_a_stream_unchunked() -> None:
    async def handler() -> Response:
        return StreamingResponse(of_text(), headers={"content-length": "3"})

    async with serving(handler) as caller:
        reply = await caller.get()
        assert "transfer-encoding" not in dict(reply.headers)
        assert reply.body == b"abc"


@pytest.mark.parametrize("length", ["2", "4"])
async def test_a_stream_that_breaks_its_declared_length_cuts_the_connection(
    length: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler() -> Response:
        return StreamingResponse(of_text(), headers={"content-length": length})

    async with serving(handler) as caller:
        call = caller.request("GET / HTTP/1.1")
        last = await caller.conn.until(lambda sent: sent and sent[-1].type == frames.ERR)
        assert last
        assert caller.conn.sent[0].call_id == call
    assert "content-length" in caplog.text


async def test_a_stream_waits_for_credit() -> None:
    made = 0

    async def handler() -> AsyncIterator[str]:
        nonlocal made
        while True:
            made += 1
            yield "x"
            await asyncio.sleep(0)

    async with serving(handler) as caller:
        call = caller.request("GET / HTTP/1.1")
        await caller.conn.until(lambda sent: len(sent) >= 65)
        for _ in range(500):
            await asyncio.sleep(0)
        assert len(caller.conn.sent) == 1 + 64
        at_rest = made
        assert at_rest < 300
        caller.frame(frames.CREDIT, 0, 10, call)
        await caller.conn.until(lambda sent: len(sent) >= 75)
        caller.frame(frames.CANCEL, call_id=call)


# ---- errors


async def test_an_exception_is_a_500_without_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler() -> str:
        raise ValueError("secret")

    async with serving(handler) as caller:
        reply = await caller.get()
        assert (reply.status, reply.body) == (500, b"Internal Server Error")
    assert "ValueError: secret" in caplog.text
    assert "Traceback" in caplog.text


async def test_an_exception_before_the_first_item_is_a_500() -> None:
    async def handler() -> AsyncIterator[str]:
        raise ValueError
        yield ""  # type: ignore[unreachable]

    async with serving(handler) as caller:
        assert (await caller.get()).status == 500


async def test_an_exception_within_a_stream_cuts_it(caplog: pytest.LogCaptureFixture) -> None:
    async def handler() -> AsyncIterator[str]:
        yield "some"
        raise ValueError("late")

    async with serving(handler) as caller:
        caller.request("GET / HTTP/1.1")
        await caller.conn.until(lambda sent: sent and sent[-1].type == frames.ERR)
    assert "ValueError: late" in caplog.text


@pytest.mark.parametrize(
    ("error", "status", "body", "headers"),
    [
        (BackPressureError(3, 2), 503, b"backpressure", {"retry-after": "1"}),
        (BackPressureError(3, 2, 429, 1.5), 429, b"backpressure", {"retry-after": "2"}),
        (DeploymentUnavailableError("x"), 503, b"Deployment x is unavailable.", {}),
        (ReplicaDiedError("r"), 502, b"Replica r died while it worked on this", {}),
        (ReplicaUnavailableError("r"), 503, b"Replica r is gone.", {}),
        (RequestTimeoutError(2, "request_timeout_s"), 408, b"timed out after 2s", {}),
        (HTTPException(404, "not here", {"x-a": "b"}), 404, b"not here", {"x-a": "b"}),
        (HTTPException(418, {"a": 1}), 418, b'{"detail":{"a":1}}', {}),  # type: ignore[arg-type]
        (asyncio.CancelledError(), 500, b"Internal Server Error", {}),
    ],
)
async def test_errors_with_a_status_of_their_own(
    error: BaseException, status: int, body: bytes, headers: dict[str, str]
) -> None:
    async def handler() -> str:
        raise error

    async with serving(handler) as caller:
        reply = await caller.get()
        assert reply.status == status
        assert body in reply.body
        assert headers.items() <= dict(reply.headers).items()


async def test_a_header_with_a_line_break_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async def handler() -> Response:
        return Response("x", headers={"x-a": "1\r\nset-cookie: evil=1"})

    async with serving(handler) as caller:
        reply = await caller.get()
        assert reply.status == 500
        assert "set-cookie" not in dict(reply.headers)
    assert "line break" in caplog.text


@pytest.mark.parametrize("name", ["a b", "", "a:b", "(x)"])
async def test_a_header_whose_name_is_no_token_is_refused(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler() -> Response:
        return Response("x", headers={name: "1"})

    async with serving(handler) as caller:
        assert (await caller.get()).status == 500
    assert f"no token: {name.encode()!r}" in caplog.text


@pytest.mark.parametrize("status", [0, 99, 100, 103, 1000])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_status_that_ends_no_request_is_refused(
    status: int, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler() -> Response:
        if streamed:
            return StreamingResponse(iter(["x"]), status)
        return Response("x", status)

    async with serving(handler) as caller:
        assert (await caller.get()).status == 500
    assert f"cannot be {status}: expected 200 to 999" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        HTTPException(400, "no", headers={"x-a": "1\r\nset-cookie: evil=1"}),
        HTTPException(400, "no", headers={"x-a": "\u2713"}),
        HTTPException(429, "no", headers={"retry-after": 5}),  # type: ignore[dict-item]
        HTTPException(99, "no"),
    ],
    ids=["line break", "not latin-1", "no text", "status"],
)
async def test_an_http_exception_that_cannot_be_sent_is_a_500_that_the_log_explains(
    error: HTTPException, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler() -> str:
        raise error

    async with serving(handler) as caller:
        assert (await caller.get()).status == 500
        assert caller.side.host.ongoing == 0
    assert "HTTPException" in caplog.text


async def test_an_http_exception_of_a_lone_surrogate_is_a_500(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("salver"), "disabled", True)  # no report can hold it

    async def handler() -> str:
        raise HTTPException(400, "\ud800")

    async with serving(handler) as caller:
        assert (await caller.get()).status == 500
        assert caller.side.host.ongoing == 0


async def test_a_result_without_json_form_is_a_500_that_the_log_explains(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler() -> Any:
        return {"a": len}

    with caplog.at_level(logging.ERROR):
        async with serving(handler) as caller:
            assert (await caller.get()).status == 500
    assert "has no JSON form" in caplog.text
