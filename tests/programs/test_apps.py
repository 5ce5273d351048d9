"""Whole ASGI apps behind the door: FastAPI with everything, Starlette, builders."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
import numpy as np
import pandas as pd
import pydantic
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Form,
    HTTPException,
    Request,
    UploadFile,
    WebSocket,
    WebSocketDisconnect,
)
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from salver import serve
from salver.program import INGRESS_MARK
from salver.serve.exceptions import BackPressureError
from salver.serve.handle import DeploymentHandle
from salver.testing import run_inline


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    app.state.started = "yes"
    yield {"shared": "of the lifespan"}


api = FastAPI(title="Shop", lifespan=lifespan)
router = APIRouter(prefix="/routed")
sub = FastAPI()


class Item(pydantic.BaseModel):
    name: str
    price: float
    secret: str = "hidden"


class Shown(pydantic.BaseModel):
    name: str
    price: float


class Teapot(Exception):
    pass


@api.exception_handler(Teapot)
async def teapot(request: Request, error: Teapot) -> JSONResponse:
    return JSONResponse({"short": "and stout"}, status_code=418)


@api.middleware("http")
async def stamp(request: Request, call_next: Any) -> Any:
    response = await call_next(request)
    response.headers["x-stamp"] = "seen"
    return response


def token(request: Request) -> str:
    return request.headers.get("x-token", "none")


async def page(first: int = 0, count: int = 10) -> AsyncIterator[tuple[int, int]]:
    yield first, count


@sub.get("/hello")
def sub_hello() -> str:
    return "from the sub-app"


@router.get("/plain")
async def routed() -> dict[str, str]:
    return {"routed": "plainly"}


api.include_router(router)
api.mount("/sub", sub)


@serve.deployment
class Pricer:
    def price(self, name: str) -> float:
        return len(name) * 1.5


@serve.deployment
@serve.ingress(api)
class Shop:
    def __init__(self, pricer: DeploymentHandle[Any], owner: str = "me") -> None:
        self.pricer = pricer
        self.owner = owner
        self.done: list[str] = []
        self.changed = asyncio.Event()

    @api.get("/")
    def root(self) -> dict[str, str]:
        return {"owner": self.owner}

    @api.get("/items/{name}")
    async def item(self, name: str, times: int = 1) -> dict[str, Any]:
        return {"name": name, "price": times * await self.pricer.price.remote(name)}

    @api.post("/items", response_model=Shown, status_code=201)
    async def create(self, item: Item) -> Item:
        return item

    @api.get("/depends")
    async def depends(
        self,
        request: Request,
        token: Annotated[str, Depends(token)],
        page: Annotated[tuple[int, int], Depends(page)],
    ) -> list[Any]:
        return [token, *page, self.owner, request.state.shared, request.app.state.started]

    @api.get("/errors/{kind}")
    async def errors(self, kind: str) -> None:
        if kind == "http":
            raise HTTPException(402, "pay first")
        if kind == "teapot":
            raise Teapot
        if kind == "pressure":
            raise BackPressureError(2, 1)
        raise ValueError("private")

    @api.get("/background")
    async def background(self, tasks: BackgroundTasks) -> str:
        tasks.add_task(self.note, "later")
        return "now"

    async def note(self, text: str) -> None:
        self.done.append(text)
        self.changed.set()

    async def noted(self, text: str) -> bool:
        while text not in self.done:
            self.changed.clear()
            await self.changed.wait()
        return True

    @api.get("/stream")
    async def stream(self, count: int) -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            for number in range(count):
                yield f"data: {number}\n\n"

        return StreamingResponse(numbers(), media_type="text/event-stream")

    @api.post("/upload")
    async def upload(
        self, file: Annotated[UploadFile, File()], title: Annotated[str, Form()]
    ) -> dict[str, Any]:
        data = await file.read()
        return {"title": title, "name": file.filename, "size": len(data), "end": data[-3:].hex()}

    @api.get("/where")
    def where(self, request: Request) -> list[Any]:
        assert request.client is not None
        return [
            request.scope["root_path"],
            request.url.path,
            str(request.url_for("item", name="x").path),
            request.client.host,
        ]

    @api.websocket("/chat/{room}")
    async def chat(self, websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        assert websocket.client is not None
        await websocket.send_json([room, self.owner, websocket.client.host])
        try:
            while True:
                text = await websocket.receive_text()
                if text == "bye":
                    await websocket.close(4001, "as you wish")
                    return
                await websocket.send_text(text.upper())
        except WebSocketDisconnect as end:
            await self.note(f"left with {end.code}")


@pytest.fixture(scope="module")
def shop(door: str) -> DeploymentHandle[Any]:
    return serve.run(Shop.bind(Pricer.bind(), owner="you"), name="shop", route_prefix="/shop")


def test_routes_are_methods_with_self(shop: DeploymentHandle[Any], client: httpx.Client) -> None:
    assert client.get("/shop/").json() == {"owner": "you"}
    assert client.get("/shop/items/cup?times=2").json() == {"name": "cup", "price": 9.0}
    assert client.get("/shop/items/cup?times=x").status_code == 422
    assert client.get("/shop/nothing").json() == {"detail": "Not Found"}
    assert client.post("/shop/").status_code == 405


def test_models_are_checked_and_filtered(shop: DeploymentHandle[Any], client: httpx.Client) -> None:
    reply = client.post("/shop/items", json={"name": "cup", "price": 2})
    assert (reply.status_code, reply.json()) == (201, {"name": "cup", "price": 2.0})
    refused = client.post("/shop/items", json={"name": "cup"})
    assert refused.status_code == 422
    assert refused.json()["detail"][0]["loc"] == ["body", "price"]


def test_dependencies_lifespan_and_middleware(
    shop: DeploymentHandle[Any], client: httpx.Client
) -> None:
    reply = client.get("/shop/depends?first=3", headers={"x-token": "t"})
    assert reply.json() == ["t", 3, 10, "you", "of the lifespan", "yes"]
    assert reply.headers["x-stamp"] == "seen"


@pytest.mark.parametrize(
    ("kind", "status", "body"),
    [
        ("http", 402, '{"detail":"pay first"}'),
        ("teapot", 418, '{"short":"and stout"}'),
        ("value", 500, "Internal Server Error"),
    ],
)
def test_an_error_of_users_code_becomes_its_status_and_body(
    shop: DeploymentHandle[Any], client: httpx.Client, kind: str, status: int, body: str
) -> None:
    reply = client.get(f"/shop/errors/{kind}")
    assert (reply.status_code, reply.text) == (status, body)


def test_back_pressure_of_a_child_is_the_app_s_own(
    shop: DeploymentHandle[Any], client: httpx.Client
) -> None:
    reply = client.get("/shop/errors/pressure")
    assert reply.status_code == 503
    assert "backpressure" in reply.text


def test_a_background_task_runs_after_the_answer(
    shop: DeploymentHandle[Any], client: httpx.Client
) -> None:
    assert client.get("/shop/background").json() == "now"
    assert shop.noted.remote("later").result(timeout_s=60)


def test_streams_and_uploads(shop: DeploymentHandle[Any], client: httpx.Client) -> None:
    assert client.get("/shop/stream?count=3").text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    for size in (10, 3_000_000):
        data = bytes(size - 3) + b"end"
        reply = client.post("/shop/upload", files={"file": ("a.bin", data)}, data={"title": "T"})
        assert reply.json() == {"title": "T", "name": "a.bin", "size": size, "end": b"end".hex()}


def test_docs_live_under_the_prefix(shop: DeploymentHandle[Any], client: httpx.Client) -> None:
    docs = client.get("/shop/docs")
    assert docs.status_code == 200
    assert "/shop/openapi.json" in docs.text
    schema = client.get("/shop/openapi.json").json()
    assert schema["info"]["title"] == "Shop"
    assert "/items/{name}" in schema["paths"]
    assert schema["servers"] == [{"url": "/shop"}]
    parameters = schema["paths"]["/items/{name}"]["get"]["parameters"]
    assert [p["name"] for p in parameters] == ["name", "times"]
    assert client.get("/shop/redoc").status_code == 200


def test_root_path_and_urls(shop: DeploymentHandle[Any], client: httpx.Client) -> None:
    assert client.get("/shop/where").json() == [
        "/shop",
        "/shop/where",
        "/shop/items/x",
        "127.0.0.1",
    ]


def test_sub_apps_and_routers(shop: DeploymentHandle[Any], client: httpx.Client) -> None:
    assert client.get("/shop/sub/hello").json() == "from the sub-app"
    assert client.get("/shop/routed/plain").json() == {"routed": "plainly"}


async def test_a_websocket_of_the_app_is_accepted_talks_and_closes(
    shop: DeploymentHandle[Any], door: str
) -> None:
    address = door.replace("http", "ws") + "/shop/chat/lobby"
    async with connect(address) as socket:
        assert await socket.recv() == '["lobby","you","127.0.0.1"]'
        await socket.send("hello")
        assert await socket.recv() == "HELLO"
        await socket.send("x" * 300_000)
        assert await socket.recv() == "X" * 300_000
        await socket.send("bye")
        with pytest.raises(ConnectionClosed) as end:
            await socket.recv()
    assert end.value.rcvd is not None
    assert (end.value.rcvd.code, end.value.rcvd.reason) == (4001, "as you wish")


async def test_a_websocket_that_is_left(shop: DeploymentHandle[Any], door: str) -> None:
    async with connect(door.replace("http", "ws") + "/shop/chat/x") as socket:
        await socket.recv()
    assert await shop.noted.remote("left with 1000")


def test_methods_are_called_by_handle_too(shop: DeploymentHandle[Any]) -> None:
    assert shop.root.remote().result() == {"owner": "you"}


# ---- other apps


async def homepage(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.url_for('home').path} {request.scope['root_path']}")


starlette_app = Starlette(routes=[Route("/home", homepage, name="home")])


@serve.deployment
@serve.ingress(starlette_app)
class ByStarlette:
    pass


async def raw_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        raise NotImplementedError
    await send({"type": "http.response.start", "status": 202, "headers": [(b"x-raw", b"1")]})
    await send({"type": "http.response.body", "body": scope["path"].encode()})


@serve.deployment
@serve.ingress(raw_app)
class Raw:
    pass


def builder() -> FastAPI:
    built = FastAPI()

    @built.get("/built")
    def route() -> str:
        return serve.get_replica_context().deployment

    return built


@serve.deployment
@serve.ingress(builder)
class Built:
    pass


@serve.deployment
@serve.ingress()
class Builds:
    def __init__(self, word: str) -> None:
        self.word = word

    async def __serve_build_asgi_app__(self) -> FastAPI:
        own = FastAPI()
        own.get("/own")(self.own)
        return own

    def own(self) -> str:
        return self.word


class_api = FastAPI()


class Base:
    @class_api.get("/inherited")
    def inherited(self) -> str:
        return type(self).__name__ + self.suffix()

    def suffix(self) -> str:
        return "?"


@serve.deployment
@serve.ingress(class_api)
class Derived(Base):
    def suffix(self) -> str:
        return "!"

    @class_api.get("/own")
    async def own(self) -> str:
        return "own"


@pytest.mark.parametrize(
    ("app", "path", "body"),
    [
        (ByStarlette.bind(), "/home", "/asgi/home /asgi"),
        (Raw.bind(), "/any", "/asgi/any"),
        (Built.bind(), "/built", '"Built"'),
        (serve.deployment(serve.ingress(builder)()).bind(1), "/built", '"ASGIIngressDeployment"'),
        (serve.deployment(serve.ingress(starlette_app)()).bind(), "/home", "/asgi/home /asgi"),
        (Builds.bind("w"), "/own", '"w"'),
        (Derived.bind(), "/inherited", '"Derived!"'),
        (Derived.bind(), "/own", '"own"'),
    ],
)
def test_starlette_and_bare_asgi_apps_are_served_below_their_prefix(
    client: httpx.Client, app: Any, path: str, body: str
) -> None:
    serve.run(app, name="asgi", route_prefix="/asgi")
    assert client.get("/asgi" + path).text == body
    serve.delete("asgi")


def built_in_a_function(word: str) -> Any:
    """As builders make them: such a class travels by value."""
    api = FastAPI()

    class Base:
        @api.get("/inherited")
        def inherited(self) -> str:
            return word

    @serve.deployment
    @serve.ingress(api)
    class Local(Base):
        @api.get("/own")
        async def own(self, times: int = 1) -> str:
            return type(self).__name__ * times

    return Local.bind()


def test_routes_of_a_class_that_a_function_makes(client: httpx.Client) -> None:
    serve.run(built_in_a_function("w"), name="local", route_prefix="/local")
    assert client.get("/local/own?times=2").json() == "LocalLocal"
    assert client.get("/local/inherited").json() == "w"
    serve.delete("local")


late_api = FastAPI()
open_api = FastAPI()
connected_api = FastAPI()  # which holds what no pickle does: it goes by its name
connected_api.state.connection = (number for number in range(3))


class Late:
    """A plain class of an importable module: what is made of it elsewhere must not be lost."""

    def __init__(self, word: str = "plain") -> None:
        self.word = word

    @late_api.get("/word")
    def answer(self) -> str:
        return f"{type(self).__name__} {self.word}"

    @connected_api.get("/connected")
    def connected(self, request: Request) -> int:
        return next(request.app.state.connection)  # type: ignore[no-any-return]

    @open_api.get("/open")
    def opened(self) -> str:
        return f"open {self.word}"


@serve.deployment(name="Wrapped")
class LateDeployment:
    @late_api.get("/deployed")
    def answer(self) -> str:
        return "deployed"


def counted(cls: type) -> type:
    """As class decorators of users are: a subclass that looks like the class."""

    @functools.wraps(cls, updated=())
    class Counted(cls):  # type: ignore[misc]
        counts = 1

    return Counted


@serve.deployment
@counted
@serve.ingress(late_api)
class Looks:
    @late_api.get("/looks")
    def looks(self) -> int:
        return self.counts  # type: ignore[no-any-return]


@serve.deployment
@serve.ingress(late_api)
@counted
class LooksBelow:
    @late_api.get("/below")
    def looks(self) -> int:
        return self.counts  # type: ignore[no-any-return]


def late(word: str) -> Any:
    return serve.deployment(serve.ingress(late_api)(Late)).bind(word)


def opened(word: str) -> Any:
    return serve.deployment(num_replicas=1)(serve.ingress(open_api)(counted(Late))).bind(word)


def connected() -> Any:
    return serve.deployment(serve.ingress(connected_api)(Late)).bind()


def undone() -> Any:
    return serve.deployment(serve.ingress(late_api)(LateDeployment.func_or_class)).bind()


def built_late() -> Any:
    return serve.deployment(serve.ingress(lambda: starlette_app)(Late)).bind()


@pytest.mark.parametrize(
    ("build", "path", "body"),
    [
        (lambda: late("w"), "/word", '"Late w"'),
        (lambda: opened("o"), "/open", '"open o"'),
        (connected, "/connected", "0"),
        (undone, "/deployed", '"deployed"'),
        (built_late, "/home", "/late/home /late"),
        (Looks.bind, "/looks", "1"),
        (LooksBelow.bind, "/below", "1"),
    ],
    ids=[
        "late",
        "wrapped",
        "connected",
        "of-a-deployment",
        "builder",
        "wrapped-above",
        "wrapped-below",
    ],
)
def test_an_importable_class_is_given_its_app_where_it_is_used(
    client: httpx.Client, build: Any, path: str, body: str
) -> None:
    serve.run(build(), name="late", route_prefix="/late")
    assert client.get(f"/late{path}").text == body
    serve.delete("late")


def test_a_class_may_be_given_several_apps() -> None:
    """And is itself left as it was."""
    one, other = serve.ingress(late_api)(Late), serve.ingress(open_api)(Late)
    assert (one.__name__, one.__qualname__, one.__module__) == ("Late", "Late", __name__)
    assert getattr(one, INGRESS_MARK) is late_api
    assert getattr(other, INGRESS_MARK) is open_api
    assert not hasattr(Late, INGRESS_MARK)


def test_a_route_of_a_class_without_self_is_told(door: str) -> None:
    api = FastAPI()

    @serve.deployment(max_constructor_retry_count=1)
    @serve.ingress(api)
    class Forgot:
        @api.get("/")
        def root() -> str:  # type: ignore[misc]
            return ""

    with pytest.raises(serve.exceptions.RayServeException, match="parameter must be `self`"):
        serve.run(Forgot.bind(), name="forgot", route_prefix="/forgot")
    serve.delete("forgot")


def test_a_failing_lifespan_fails_the_app(door: str) -> None:
    @asynccontextmanager
    async def fails(app: FastAPI) -> AsyncIterator[None]:
        if app.title:
            raise ValueError("no database")
        yield

    def broken() -> FastAPI:
        return FastAPI(lifespan=fails)

    @serve.deployment(max_constructor_retry_count=1)
    @serve.ingress(broken)
    class Broken:
        pass

    with pytest.raises(RuntimeError, match="no database"):
        serve.run(Broken.bind(), name="broken", route_prefix="/broken")
    serve.delete("broken")


def test_what_ingress_refuses() -> None:
    with pytest.raises(ValueError, match="class"):
        serve.ingress(FastAPI())(lambda: None)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="__call__"):

        @serve.ingress(FastAPI())
        class Called:
            def __call__(self) -> None: ...


def test_only_the_root_may_have_routes() -> None:
    """No request would reach the inner one's. By handle it can be called as an app of its own."""
    with pytest.raises(serve.SalverError, match=r"^Deployment Shop has @ingress and is an arg"):
        serve.run(Asks.bind(Shop.bind(Pricer.bind())), name="inner", route_prefix=None)


@serve.deployment
class Asks:
    def __init__(self, shop: DeploymentHandle[Any]) -> None:
        self.shop = shop

    async def __call__(self) -> Any:
        return await self.shop.root.remote()


figures = FastAPI()


@serve.deployment
@serve.ingress(figures)
class Figures:
    @figures.get("/scalar", response_model=None)
    def scalar(self) -> Any:
        return {"of": [np.float32(1.5), np.int64(2)]}

    @figures.get("/array", response_model=None)
    async def array(self) -> Any:
        return np.arange(3)

    @figures.get("/table", response_model=None)
    def table(self) -> Any:
        return pd.DataFrame({"a": [1, 2]})

    @figures.get("/error", response_model=None)
    def error(self) -> Any:
        return {"why": ValueError("so")}


async def test_routes_return_arrays_tables_and_errors_as_plain_handlers_do() -> None:
    async with (
        run_inline(Figures.bind()) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://x") as client,
    ):
        found = [(await client.get(path)).json() for path in ("/scalar", "/array", "/table")]
        assert found == [{"of": [1.5, 2]}, [0, 1, 2], [{"a": 1}, {"a": 2}]]
        assert (await client.get("/error")).json() == {"why": "so"}
