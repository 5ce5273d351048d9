"""An app inside a test."""

# A decorated class is a Deployment, which mypy does not follow.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import queue
import re
from importlib import import_module
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

import salver
from salver.errors import DeployFailedError, SalverError
from salver.testing import run_inline


@salver.deployment
class Greeter:
    def __init__(self, word: str) -> None:
        if not word:
            raise ValueError("the user's own mistake")
        self.word = word

    def __call__(self, request: Any) -> str:
        return f"{self.word} {request.query_params['name']}"

    def greet(self, name: str) -> str:
        return f"{self.word} {name}"


@pytest.mark.filterwarnings("ignore:Using `httpx` with")
def test_in_plain_code() -> None:
    client = import_module("starlette.testclient").TestClient  # warns of what it is built on
    with run_inline(Greeter.bind("hi")) as running:
        assert running.handle.greet.remote("you").result() == "hi you"
        assert client(running.asgi).get("/?name=there").text == "hi there"


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    if await socket.receive_text() == "leave":
        await socket.close(4001, "as you said")
        return
    left = await socket.receive()
    told.put((left["code"], left["reason"]))


async def deny(socket: WebSocket) -> None:
    if "words" in socket.query_params:
        await socket.send_denial_response(PlainTextResponse("not you", 401, {"X-Why": "who"}))
    else:
        await socket.close(1008, "which no client is told")


told: queue.Queue[tuple[int, str]] = queue.Queue()


@salver.deployment
@salver.ingress(Starlette(routes=[WebSocketRoute("/", talk), WebSocketRoute("/deny", deny)]))
class Talk: ...


@pytest.mark.filterwarnings("ignore:Using `httpx` with")
def test_websockets_end_with_the_code_and_the_reason_of_whoever_ends_them() -> None:
    client = import_module("starlette.testclient").TestClient
    with run_inline(Talk.bind()) as running:
        with client(running.asgi).websocket_connect("/") as socket:
            socket.send_text("leave")
            assert socket.receive() == {
                "type": "websocket.close", "code": 4001, "reason": "as you said",
            }  # fmt: skip
        with client(running.asgi).websocket_connect("/") as socket:
            socket.send_text("stay")
            socket.close(4002, "enough")
            assert told.get(timeout=60) == (4002, "enough")  # to leave the block is to hang up


@pytest.mark.filterwarnings("ignore:Using `httpx` with")
@pytest.mark.parametrize(
    ("query", "reply"), [("", (403, "", None)), ("?words", (401, "not you", "who"))]
)
def test_a_denied_websocket_is_the_reply_that_the_real_door_gives(
    query: str, reply: tuple[int, str, str | None]
) -> None:
    starlette = import_module("starlette.testclient")
    with (
        run_inline(Talk.bind()) as running,
        pytest.raises(starlette.WebSocketDenialResponse) as denied,
        starlette.TestClient(running.asgi).websocket_connect(f"/deny{query}"),
    ):
        pass
    seen = denied.value
    assert (seen.status_code, seen.text, seen.headers.get("x-why")) == reply


async def test_a_denied_websocket_of_a_test_client_that_knows_no_replies_is_closed() -> None:
    async with run_inline(Talk.bind()) as running:
        told: asyncio.Queue[Any] = asyncio.Queue()
        said: asyncio.Queue[Any] = asyncio.Queue()
        said.put_nowait({"type": "websocket.connect"})
        scope = {"type": "websocket", "path": "/deny", "headers": [], "query_string": b""}
        await running.asgi(scope, said.get, told.put)
        assert told.get_nowait() == {
            "type": "websocket.close", "code": 1006, "reason": "refused: 403",
        }  # fmt: skip


async def test_on_an_event_loop() -> None:
    async with run_inline(Greeter.bind("hi"), route_prefix="/say") as running:
        assert await running.handle.greet.remote("you") == "hi you"
        transport = httpx.ASGITransport(app=running.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/say?name=there")).text == "hi there"
            assert (await client.get("/")).status_code == 404


def test_two_apps_side_by_side() -> None:
    with run_inline(Greeter.bind("one")) as one, run_inline(Greeter.bind("two")) as two:
        assert two.handle.greet.remote("").result() == "two "
        assert one.handle.greet.remote("").result() == "one "


def test_a_failing_constructor_is_the_error_of_the_block() -> None:
    app = Greeter.options(max_constructor_retry_count=1).bind("")
    with (
        pytest.raises(DeployFailedError, match="the user's own mistake") as failed,
        run_inline(app),
    ):
        pass
    files = re.findall(r'File "(.*?)"', str(failed.value))
    assert files == [__file__]  # the traceback is that of the user's code


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"app": Greeter}, TypeError, r"^run_inline\(\) takes an Application.*got Deployment"),
        ({"route_prefix": "x"}, ValueError, "^route_prefix='x' is not valid"),
        ({"name": "a#b"}, SalverError, "^name='a#b' is not valid"),
    ],
)
def test_what_run_refuses_is_refused_inside_a_test_too(
    given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_inline(**{"app": Greeter.bind("hi"), **given})


def test_run_has_the_same_under_the_name_that_ray_serve_gives_it() -> None:
    handle = salver.run(Greeter.bind("local"), _local_testing_mode=True)
    assert handle.greet.remote("mode").result() == "local mode"
    salver.shutdown()


def test_grpc_is_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match="an app in this process has no gRPC door"):
        run_inline(Greeter.bind("hi"), grpc_options={"port": 0, "inference": True})
