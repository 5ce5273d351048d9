"""What handlers return, what goes wrong, ids, routes and contexts, over real HTTP."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import numpy as np
import pydantic
import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from salver import serve
from salver.serve.context import _serve_request_context
from salver.serve.exceptions import BackPressureError
from salver.serve.handle import DeploymentHandle


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Item(pydantic.BaseModel):
    name: str
    price: float = 1.5


def _lines() -> Iterator[str]:
    for number in range(3):
        yield f"line {number}\n"


async def _alines() -> AsyncIterator[bytes]:
    for number in range(3):
        await asyncio.sleep(0)
        yield b"%d;" % number


RESULTS: dict[str, Any] = {
    "none": None,
    "str": "grüße",
    "bytes": b"\x00\xff",
    "dict": {"a": [1, None, True], "ü": "ö"},
    "list": [1, 2.5],
    "int": 7,
    "float": 0.5,
    "bool": True,
    "tuple": (1, "two"),
    "point": Point(1, 2.0),
    "item": Item(name="cup"),
    "numpy": np.float32(0.5),
    "npint": np.int64(3),
    "array": np.arange(4).reshape(2, 2),
    "nested": {"items": [Item(name="a")], "at": Point(0, 0), "n": np.int32(1)},
}


@serve.deployment
class Results:
    async def __call__(self, request: Request) -> Any:
        kind = request.query_params["kind"]
        return self.plain(kind)

    def plain(self, kind: str) -> Any:
        if kind in RESULTS:
            return RESULTS[kind]
        makers: dict[str, Any] = {
            "json": lambda: JSONResponse({"a": 1}, status_code=201, headers={"x-a": "b"}),
            "html": lambda: HTMLResponse("<p>"),
            "text": lambda: PlainTextResponse("text", status_code=418),
            "redirect": lambda: RedirectResponse("/elsewhere"),
            "empty": lambda: Response(status_code=204),
            "stream": lambda: StreamingResponse(_lines(), media_type="text/event-stream"),
            "astream": lambda: StreamingResponse(_alines(), status_code=202),
            "background": lambda: PlainTextResponse("ok", background=BackgroundTask(noted.set)),
            "generator": _lines,
            "agenerator": _alines,
        }
        return makers[kind]()


noted = threading.Event()


@pytest.fixture(scope="module")
def results(door: str) -> str:
    serve.run(Results.bind(), name="results", route_prefix="/results")
    serve.run(ThreadResults.bind(), name="thread", route_prefix="/thread")
    return "/results"


@serve.deployment
class ThreadResults:
    def __call__(self, request: Request) -> Any:
        return Results.func_or_class().plain(request.query_params["kind"])


TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
EXPECTED = [
    ("none", 200, "text/plain", b""),
    ("str", 200, TEXT, "grüße".encode()),
    ("bytes", 200, "text/plain", b"\x00\xff"),
    ("dict", 200, JSON, '{"a":[1,null,true],"ü":"ö"}'.encode()),
    ("list", 200, JSON, b"[1,2.5]"),
    ("int", 200, JSON, b"7"),
    ("float", 200, JSON, b"0.5"),
    ("bool", 200, JSON, b"true"),
    ("tuple", 200, JSON, b'[1,"two"]'),
    ("point", 200, JSON, b'{"x":1,"y":2.0}'),
    ("item", 200, JSON, b'{"name":"cup","price":1.5}'),
    ("numpy", 200, JSON, b"0.5"),
    ("npint", 200, JSON, b"3"),
    ("array", 200, JSON, b"[[0,1],[2,3]]"),
    ("json", 201, JSON, b'{"a":1}'),
    ("html", 200, "text/html; charset=utf-8", b"<p>"),
    ("text", 418, TEXT, b"text"),
    ("redirect", 307, None, b""),
    ("empty", 204, None, b""),
    ("stream", 200, "text/event-stream; charset=utf-8", b"line 0\nline 1\nline 2\n"),
    ("astream", 202, None, b"0;1;2;"),
    ("background", 200, TEXT, b"ok"),
]


@pytest.mark.parametrize("path", ["/results", "/thread"])
@pytest.mark.parametrize(("kind", "status", "content", "body"), EXPECTED, ids=lambda v: str(v)[:12])
def test_results_by_type(
    results: str,
    client: httpx.Client,
    path: str,
    kind: str,
    status: int,
    content: str | None,
    body: bytes,
) -> None:
    reply = client.get(path, params={"kind": kind})
    assert (reply.status_code, reply.content) == (status, body)
    assert reply.headers.get("content-type") == content
    if kind == "json":
        assert reply.headers["x-a"] == "b"


@pytest.mark.parametrize("path", ["/results", "/thread"])
def test_nested_results_become_json(results: str, client: httpx.Client, path: str) -> None:
    assert client.get(path, params={"kind": "nested"}).json() == {
        "items": [{"name": "a", "price": 1.5}],
        "at": {"x": 0, "y": 0},
        "n": 1,
    }


@pytest.mark.parametrize("path", ["/results", "/thread"])
@pytest.mark.parametrize(
    ("kind", "body"), [("generator", "line 0\nline 1\nline 2\n"), ("agenerator", "0;1;2;")]
)
def test_bare_generators_are_streams(
    results: str, client: httpx.Client, path: str, kind: str, body: str
) -> None:
    """Which Ray Serve cannot do."""
    assert client.get(path, params={"kind": kind}).text == body


@serve.deployment
def no_request() -> str:
    return "nothing asked"


@serve.deployment
async def function(request: Request) -> dict[str, Any]:
    assert request.client is not None
    return {
        "method": request.method,
        "path": request.url.path,
        "query": dict(request.query_params),
        "header": request.headers["x-mine"],
        "body": (await request.body()).decode(),
        "client": request.client.host,
        "port": request.client.port > 0,
        "root": request.scope["root_path"],
    }


def test_functions_get_a_starlette_request(client: httpx.Client) -> None:
    serve.run(no_request.bind(), name="none", route_prefix="/none")
    serve.run(function.bind(), name="function", route_prefix="/function")
    assert client.get("/none").text == "nothing asked"
    reply = client.put("/function/a/b?c=d", content=b"body", headers={"x-mine": "yes"})
    assert reply.json() == {
        "method": "PUT",
        "path": "/function/a/b",
        "query": {"c": "d"},
        "header": "yes",
        "body": "body",
        "client": "127.0.0.1",
        "port": True,
        "root": "/function",
    }
    serve.delete("none")
    serve.delete("function")


@serve.deployment(max_ongoing_requests=1, max_queued_requests=1)
class Narrow:
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def wait(self) -> str:
        await self.gate.wait()
        return "through"


@serve.deployment(max_ongoing_requests=10)
class Fails:
    def __init__(self, narrow: DeploymentHandle[Any]) -> None:
        self.narrow = narrow
        self.cancelled: list[str] = []
        self.changed = asyncio.Event()

    async def __call__(self, request: Request) -> Any:
        kind = request.query_params["kind"]
        if kind == "pressure":
            raise BackPressureError(3, 2)
        if kind == "child":
            waiting = [self.narrow.wait.remote() for _ in range(4)]
            try:
                return await asyncio.gather(*waiting)
            finally:
                for response in waiting:
                    response.cancel()
        if kind == "slow":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.append(kind)
                self.changed.set()
                raise
        if kind == "cut":
            return StreamingResponse(self.breaks())
        raise ValueError("not for clients")

    async def breaks(self) -> AsyncIterator[str]:
        yield "some"
        raise ValueError("too late")

    async def saw(self) -> list[str]:
        await self.changed.wait()
        return self.cancelled


@pytest.fixture(scope="module")
def failing(door: str) -> DeploymentHandle[Any]:
    return serve.run(Fails.bind(Narrow.bind()), name="fails", route_prefix="/fails")


def test_an_exception_is_a_500_that_tells_nothing(
    failing: DeploymentHandle[Any], client: httpx.Client
) -> None:
    reply = client.get("/fails?kind=value")
    assert (reply.status_code, reply.text) == (500, "Internal Server Error")
    assert reply.headers["content-type"] == TEXT


@pytest.mark.parametrize("kind", ["pressure", "child"])
def test_back_pressure_is_a_503(
    failing: DeploymentHandle[Any], client: httpx.Client, kind: str
) -> None:
    reply = client.get(f"/fails?kind={kind}")
    assert reply.status_code == 503
    assert reply.text.startswith("Request dropped due to backpressure (num_queued_requests=")


@pytest.mark.parametrize("header", [{"x-request-timeout-seconds": "1"}])
def test_a_request_that_takes_too_long_is_cancelled(
    failing: DeploymentHandle[Any], client: httpx.Client, header: dict[str, str]
) -> None:
    reply = client.get("/fails?kind=slow", headers={**header, "x-request-id": "mine"})
    assert reply.status_code == 408
    assert reply.text == "Request mine timed out after 1s."
    assert failing.saw.remote().result(timeout_s=60)[-1] == "slow"


def test_a_stream_that_breaks_is_cut(failing: DeploymentHandle[Any], client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/fails?kind=cut")


def test_paths_without_an_app(client: httpx.Client, failing: DeploymentHandle[Any]) -> None:
    reply = client.get("/nobody")
    assert reply.status_code == 404
    assert reply.text.startswith("Path '/nobody' not found. ")
    assert "/-/routes" in reply.text
    assert client.get("/-/healthz").text == "success"
    assert client.get("/-/routes").json()["/fails"] == "fails"


# ---- ids and contexts


async def _seen() -> str:
    return _serve_request_context.get().request_id


@serve.deployment
class Inner:
    def context(self) -> list[str]:
        found = _serve_request_context.get()
        return [found.request_id, found.route, found.app_name]

    def whole(self) -> dict[str, Any]:
        return msgspec.to_builtins(_serve_request_context.get())  # type: ignore[no-any-return]


@serve.deployment
class Outer:
    def __init__(self, inner: DeploymentHandle[Any]) -> None:
        self.inner = inner
        self.mine = serve.get_replica_context()

    async def __call__(self, request: Request) -> Any:
        context = _serve_request_context.get()
        response = self.inner.context.remote()
        return {
            "own": [context.request_id, context.route, context.app_name],
            "child": await response,
            "response": response.request_id,
            "context": msgspec.to_builtins(context),
        }

    async def everywhere(self) -> list[str]:
        """The request id as seen in a child task, in a thread, and by a generator elsewhere."""
        ids = [_serve_request_context.get().request_id]
        ids.append(await asyncio.create_task(_seen()))
        ids.append(await asyncio.to_thread(lambda: _serve_request_context.get().request_id))
        return ids

    async def child(self) -> list[dict[str, Any]]:
        """What is known here, and in a call made from here."""
        own = msgspec.to_builtins(_serve_request_context.get())
        return [own, await self.inner.whole.remote()]

    def replica(self) -> list[Any]:
        context = serve.get_replica_context()
        assert context.servable_object is self
        return [
            context.app_name,
            context.deployment,
            context.rank.rank,
            context.world_size,
            context.replica_tag,
            str(context.replica_id),
            self.mine.replica_tag,
        ]


@pytest.fixture(scope="module")
def outer(door: str) -> DeploymentHandle[Any]:
    return serve.run(
        Outer.options(num_replicas=2).bind(Inner.bind()), name="outer", route_prefix="/outer"
    )


@pytest.mark.parametrize("given", ["from-the-client", None])
def test_request_ids_come_in_go_out_and_are_inherited(
    outer: DeploymentHandle[Any], client: httpx.Client, given: str | None
) -> None:
    reply = client.get("/outer/x", headers={"x-request-id": given} if given else {})
    said = reply.json()
    number = reply.headers["x-request-id"]
    assert number == (given or number)
    assert number
    assert said["own"] == [number, "/outer", "outer"]
    assert said["child"] == [number, "/outer", "outer"]
    assert said["response"] == number


def test_a_child_call_inherits_the_request_and_not_the_model(
    outer: DeploymentHandle[Any],
) -> None:
    handle = outer.options(multiplexed_model_id="m", session_id="s")
    own, child = handle.child.remote().result()
    assert own["request_id"] == child["request_id"] != ""
    assert own["_internal_request_id"] != child["_internal_request_id"] != ""
    assert (own["multiplexed_model_id"], own["session_id"]) == ("m", "s")
    assert (child["multiplexed_model_id"], child["session_id"]) == ("", "")
    assert own["app_name"] == child["app_name"] == "outer"
    assert own["is_http_request"] is child["is_http_request"] is False


def test_the_context_is_the_same_in_tasks_and_threads(outer: DeploymentHandle[Any]) -> None:
    assert len(set(outer.everywhere.remote().result())) == 1


def test_an_http_request_s_context_knows_its_client(client: httpx.Client, outer: Any) -> None:
    context = client.get("/outer/whole").json()["context"]
    assert context["is_http_request"] is True
    assert re.fullmatch(r"127\.0\.0\.1:\d+", context["_client"])
    assert context["grpc_context"] is context["_ray_trace_ctx"] is None
    assert context["cancel_on_parent_request_cancel"] is True


def test_every_request_has_an_id_of_its_own(
    outer: DeploymentHandle[Any], client: httpx.Client
) -> None:
    assert len({client.get("/outer").headers["x-request-id"] for _ in range(10)}) == 10


def test_the_replica_s_context(outer: DeploymentHandle[Any]) -> None:
    seen: dict[str, int] = {}
    while len(seen) < 2:
        app, deployment, rank, world, tag, name, early = outer.replica.remote().result()
        assert (app, deployment, world) == ("outer", "Outer", 2)
        assert tag == early
        assert tag in name
        seen[tag] = rank
    assert sorted(seen.values()) == [0, 1]


# ---- execution

flag: contextvars.ContextVar[str] = contextvars.ContextVar("flag", default="unset")


@serve.deployment(max_ongoing_requests=4)
class Runs:
    def __init__(self) -> None:
        self.loop_thread = threading.get_ident()
        self.barrier = threading.Barrier(4)
        self.gate = threading.Event()
        flag.set("by the constructor")

    def together(self) -> bool:
        """Four threads at a time, none of them the loop's."""
        self.barrier.wait(60)
        return threading.get_ident() != self.loop_thread

    async def on_the_loop(self) -> bool:
        return threading.get_ident() == self.loop_thread

    def held(self) -> bool:
        """In a thread, until the loop opens the gate."""
        return self.gate.wait(60)

    async def open(self) -> None:
        self.gate.set()

    def variable(self) -> list[str]:
        before = flag.get()
        flag.set("by a call")
        return [before, _serve_request_context.get().app_name]

    async def in_tasks(self) -> list[str]:
        async def name() -> str:
            return _serve_request_context.get().app_name

        inner = await asyncio.create_task(name())
        thread = await asyncio.to_thread(lambda: _serve_request_context.get().app_name)
        return [inner, thread]


def test_def_runs_in_threads_and_async_def_on_the_loop(door: str) -> None:
    handle = serve.run(Runs.bind(), name="runs", route_prefix=None)
    responses = [handle.together.remote() for _ in range(4)]
    assert [response.result(timeout_s=60) for response in responses] == [True] * 4
    assert handle.on_the_loop.remote().result() is True
    held = handle.held.remote()
    handle.open.remote().result()
    assert held.result() is True
    assert handle.variable.remote().result() == ["by the constructor", "runs"]
    assert handle.variable.remote().result() == ["by the constructor", "runs"]
    assert handle.in_tasks.remote().result() == ["runs", "runs"]
    serve.delete("runs")


# ---- routes


@serve.deployment
class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, request: Request) -> str:
        return self.name


def test_the_longest_prefix_on_a_segment_s_border_wins(client: httpx.Client) -> None:
    prefixes = {"n-root": "/", "n-a": "/a", "n-ab": "/a/b"}
    for name, prefix in prefixes.items():
        serve.run(Named.bind(name), name=name, route_prefix=prefix)
    paths = {
        "/": "n-root",
        "/x": "n-root",
        "/a": "n-a",
        "/a/": "n-a",
        "/a/x": "n-a",
        "/ab": "n-root",
        "/a/b": "n-ab",
        "/a/b/c?d": "n-ab",
        "/a/bc": "n-a",
    }
    assert {path: client.get(path).text for path in paths} == paths
    for name in prefixes:
        serve.delete(name)


def test_streams_arrive_piece_by_piece(door: str, client: httpx.Client) -> None:
    handle = serve.run(Pieces.bind(), name="pieces", route_prefix="/pieces")
    with client.stream("GET", "/pieces") as reply:
        parts = reply.iter_text()
        assert next(parts) == "first"
        handle.go_on.remote().result()
        assert next(parts) == "second"
    serve.delete("pieces")


@serve.deployment
class Pieces:
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    def __call__(self, request: Request) -> StreamingResponse:
        return StreamingResponse(self.pieces(), media_type="text/plain")

    async def pieces(self) -> AsyncIterator[str]:
        yield "first"
        await self.gate.wait()
        yield "second"

    async def go_on(self) -> None:
        self.gate.set()


def test_uploads_stream_in(door: str, client: httpx.Client) -> None:
    serve.run(counts.bind(), name="counts", route_prefix="/counts")

    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield bytes(100_000)

    assert client.post("/counts", content=pieces()).json() == {"bytes": 3_000_000}
    assert client.post("/counts", content=bytes(5_000_000)).json() == {"bytes": 5_000_000}
    serve.delete("counts")


@serve.deployment
async def counts(request: Request) -> dict[str, int]:
    total = 0
    async for piece in request.stream():
        total += len(piece)
    return {"bytes": total}


def test_json_in_json_out(client: httpx.Client) -> None:
    @serve.deployment
    async def echo(request: Request) -> Any:
        return await request.json()

    serve.run(echo.bind(), name="echo", route_prefix="/echo")
    data = {"a": [1, {"b": None}]}
    assert json.loads(client.post("/echo", json=data).content) == data
    serve.delete("echo")
