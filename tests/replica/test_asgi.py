"""ASGI apps behind `@ingress`: FastAPI with the class's methods as routes, and any other app."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Header,
    HTTPException,
    Request,
    UploadFile,
)
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from salver.errors import BackPressureError, DeploymentUnavailableError, ReplicaDiedError
from salver.replica.class_routes import bind_class_routes
from salver.wire import frames
from tests.replica.scripted import new_host, serving, start_spec


def ingress(app: Any = None) -> Any:
    """What `salver.ingress` does to a class, as far as a replica sees it."""

    def mark(cls: Any) -> Any:
        cls.__salver_asgi__ = app
        return cls

    return mark


class Item(BaseModel):
    name: str
    price: float = 1.0


events: list[str] = []


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    events.append("up")
    yield {"answer": 42}
    events.append("down")


app = FastAPI(lifespan=lifespan, title="Shop")
router = APIRouter(prefix="/r", tags=["routed"])


async def tenant(x_tenant: Annotated[str, Header()] = "nobody") -> str:
    return x_tenant


async def database() -> AsyncIterator[str]:
    events.append("open")
    yield "db"
    events.append("close")


class Base:
    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting
        self.told = asyncio.Event()

    @app.get("/base")
    def base(self) -> str:
        return f"{self.greeting} from base"

    @app.get("/overridden")
    async def overridden(self) -> str:
        return "base"


@ingress(app)
class Shop(Base):
    @app.get("/")
    async def root(self) -> dict[str, str]:
        return {"message": self.greeting}

    @app.get("/overridden")
    async def overridden_here(self) -> str:
        return "derived"

    @app.post("/items/{item_id}", response_model=Item, status_code=201)
    async def create(self, item_id: int, item: Item, q: int = 0) -> Any:
        return {"name": f"{item.name}-{item_id}-{q}", "price": item.price, "extra": "dropped"}

    @app.get("/who")
    def who(
        self, name: Annotated[str, Depends(tenant)], db: Annotated[str, Depends(database)]
    ) -> list[str]:
        return [self.greeting, name, db]

    @app.get("/state")
    async def state(self, request: Request) -> Any:
        return request.state.answer

    @app.get("/missing")
    async def missing(self) -> None:
        raise HTTPException(404, "no such thing")

    @app.get("/broken")
    async def broken(self) -> None:
        raise ValueError("secret")

    @app.get("/full")
    async def full(self) -> None:
        raise BackPressureError(3, 2, 429, 1.2)

    @app.get("/gone")
    async def gone(self) -> None:
        raise DeploymentUnavailableError("x")

    @app.get("/died")
    async def died(self) -> None:
        raise ReplicaDiedError("r")

    @app.get("/stream")
    async def stream(self) -> StreamingResponse:
        async def items() -> AsyncIterator[str]:
            for n in range(3):
                yield f"{self.greeting}{n} "

        return StreamingResponse(items(), media_type="text/plain")

    @app.post("/upload")
    async def upload(self, file: Annotated[UploadFile, File()]) -> Any:
        return {"name": file.filename, "size": len(await file.read())}

    @app.get("/background")
    async def background(self, tasks: BackgroundTasks) -> str:
        tasks.add_task(self.told.set)
        return "now"

    @app.get("/url")
    async def url(self, request: Request) -> str:
        return str(request.url_for("root"))

    @router.get("/inside/{n}")
    async def inside(self, n: int) -> Any:
        return {"greeting": self.greeting, "n": n}


@app.get("/function")
async def function() -> str:
    return "plain"


app.include_router(router, prefix="/api")


@ingress(app)
class Other:
    """A second class on the same app."""

    @app.get("/other")
    async def other(self) -> str:
        return "other"


@pytest.fixture(autouse=True)
def _forget_events() -> None:
    events.clear()


async def test_methods_are_routes_that_get_the_instance() -> None:
    async with serving(Shop, "hi") as caller:
        assert (await caller.get("/")).body == b'{"message":"hi"}'
        assert (await caller.get("/function")).body == b'"plain"'
        assert (await caller.get("/base")).body == b'"hi from base"'
        assert (await caller.get("/api/r/inside/3")).body == b'{"greeting":"hi","n":3}'


async def test_the_more_derived_class_wins() -> None:
    async with serving(Shop) as caller:
        assert (await caller.get("/overridden")).body == b'"derived"'


async def test_another_classs_routes_are_not_served_and_the_app_stays_usable() -> None:
    before = list(app.router.routes)
    async with serving(Shop) as shop, serving(Other) as other, serving(Shop, "2") as second:
        assert (await shop.get("/other")).status == 404
        assert (await other.get("/other")).body == b'"other"'
        assert (await other.get("/base")).status == 404
        assert (await other.get("/function")).body == b'"plain"'
        assert (await second.get("/")).body == b'{"message":"2"}'
        assert (await shop.get("/")).body == b'{"message":"hello"}'
    assert app.router.routes == before


async def test_validation_response_models_and_status_codes() -> None:
    async with serving(Shop) as caller:
        body = b'{"name": "nut"}'
        head = "POST {} HTTP/1.1\nhost: x\ncontent-type: application/json"
        reply = await caller.http(head.format("/items/7?q=2"), body)
        assert (reply.status, reply.body) == (201, b'{"name":"nut-7-2","price":1.0}')
        for path, data in (("/items/x", body), ("/items/1", b"{}"), ("/items/1", b"{")):
            assert (await caller.http(head.format(path), data)).status == 422


async def test_dependencies_also_those_that_yield() -> None:
    async with serving(Shop) as caller:
        assert (await caller.get("/who", "X-Tenant: me")).body == b'["hello","me","db"]'
        assert events == ["up", "open", "close"]


async def test_lifespan_and_its_state() -> None:
    async with serving(Shop) as caller:
        assert events == ["up"]
        assert (await caller.get("/state")).body == b"42"
    assert events == ["up", "down"]


async def test_every_error_behind_an_app_has_its_status(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Shop) as caller:
        assert (await caller.get("/missing")).body == b'{"detail":"no such thing"}'
        assert (await caller.get("/nowhere")).status == 404
        reply = await caller.get("/full")
        assert (reply.status, reply["retry-after"]) == (429, "2")
        assert (await caller.get("/gone")).status == 503
        reply = await caller.get("/died")
        assert (reply.status, reply.body) == (502, str(ReplicaDiedError("r")).encode())
        reply = await caller.get("/broken")
        assert (reply.status, reply.body) == (500, b"Internal Server Error")
    assert "ValueError: secret" in caplog.text
    assert "after the response" not in caplog.text  # which is what became of it


async def test_docs_under_a_route_prefix() -> None:
    async with serving(Shop, route="/shop") as caller:
        docs = await caller.get("/shop/docs")
        assert "/shop/openapi.json" in docs.body.decode()
        schema = json.loads((await caller.get("/shop/openapi.json")).body)
        assert schema["info"]["title"] == "Shop"
        assert schema["servers"] == [{"url": "/shop"}]
        assert set(schema["paths"]) >= {"/", "/base", "/api/r/inside/{n}", "/items/{item_id}"}
        assert "/other" not in schema["paths"]
        names = [p["name"] for p in schema["paths"]["/items/{item_id}"]["post"]["parameters"]]
        assert names == ["item_id", "q"]
        assert (await caller.get("/shop/url")).body == b'"http://test/shop/"'
        assert (await caller.get("/shop/")).body == b'{"message":"hello"}'


async def test_streams_leave_in_pieces() -> None:
    async with serving(Shop) as caller:
        reply = await caller.get("/stream")
        assert reply["transfer-encoding"] == "chunked"
        assert reply.body == b"hello0 hello1 hello2 "


async def test_who_reads_a_body_gets_it_while_others_ask_whether_the_client_is_there() -> None:
    asked = asyncio.Event()

    async def read(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        reading = asyncio.ensure_future(request.body())
        await asyncio.sleep(0)
        assert not await request.is_disconnected()
        asked.set()
        await PlainTextResponse(await reading)(scope, receive, send)

    @ingress(read)
    class Asks:
        pass

    async with serving(Asks) as caller:
        call = caller.request("POST / HTTP/1.1", flags=frames.BODY)
        await asked.wait()
        caller.frame(frames.CHUNK, call_id=call, payload=b"all")
        caller.frame(frames.END, call_id=call)
        assert (await asyncio.wait_for(caller.reply(call), 5)).body == b"all"


async def test_an_uploaded_file_reaches_the_app() -> None:
    content = b"x" * 5000
    body = (
        b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.bin"\r\n'
        b"content-type: application/octet-stream\r\n\r\n" + content + b"\r\n--b--\r\n"
    )
    head = "POST /upload HTTP/1.1\nhost: x\ncontent-type: multipart/form-data; boundary=b"
    async with serving(Shop) as caller:
        reply = await caller.http(head, body)
        assert reply.body == b'{"name":"a.bin","size":5000}'
        call = caller.request(head, flags=frames.BODY)
        await caller.conn.until(lambda sent: any(f.type == frames.CREDIT for f in sent))
        for start in range(0, len(body), 1000):
            caller.frame(frames.CHUNK, call_id=call, payload=body[start : start + 1000])
        caller.frame(frames.END, call_id=call)
        assert (await caller.reply(call)).body == b'{"name":"a.bin","size":5000}'


async def test_a_background_task_runs_after_the_answer() -> None:
    async with serving(Shop) as caller:
        assert (await caller.get("/background")).body == b'"now"'
        await asyncio.wait_for(caller.side.host.object.target.told.wait(), 60)


async def test_handle_calls_reach_the_methods_too() -> None:
    async with serving(Shop) as caller:
        assert await caller.call("base") == "hello from base"


async def test_dependency_overrides_of_the_users_app_count() -> None:
    app.dependency_overrides[tenant] = lambda: "override"
    try:
        async with serving(Shop) as caller:
            assert (await caller.get("/who")).body == b'["hello","override","db"]'
    finally:
        app.dependency_overrides.clear()


async def test_a_websocket_route_is_bound_like_the_others() -> None:
    sockets = FastAPI()

    class Sockets:
        @sockets.websocket("/ws")
        async def ws(self, websocket: Any) -> None: ...

    instance = Sockets()
    bound = bind_class_routes(sockets, Sockets, instance)
    [route] = [r for r in bound.routes if getattr(r, "path", "") == "/ws"]
    assert route.endpoint.__self__ is instance  # type: ignore[attr-defined]


async def test_a_bare_router() -> None:
    bare = APIRouter()

    @ingress(bare)
    class OnRouter:
        @bare.get("/x")
        async def x(self) -> str:
            return type(self).__name__

    async with serving(OnRouter) as caller:
        assert (await caller.get("/x")).body == b'"OnRouter"'


async def test_middleware_of_the_app_runs() -> None:
    inner = FastAPI()

    @inner.middleware("http")
    async def stamp(request: Request, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["x-stamp"] = "1"
        return response

    @ingress(inner)
    class Stamped:
        @inner.get("/")
        async def root(self) -> str:
            return "x"

    async with serving(Stamped) as caller:
        reply = await caller.get("/")
        assert (reply.body, reply["x-stamp"]) == (b'"x"', "1")


# ---- other apps


async def test_a_starlette_app_with_middleware() -> None:
    async def home(request: Request) -> PlainTextResponse:
        body = await request.body()
        return PlainTextResponse(f"{request.method} {request.url.path} {body.decode()}")

    class Pass(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            return await call_next(request)

    async def full(_request: Request) -> PlainTextResponse:
        raise BackPressureError(3, 2)

    routes = [Route("/x", home, methods=["GET", "POST"]), Route("/full", full)]
    star = Starlette(routes=routes)
    star.add_middleware(Pass)

    @ingress(star)
    class Star: ...

    async with serving(Star, route="/p") as caller:
        reply = await caller.http("POST /p/x HTTP/1.1\nhost: x", b"body")
        assert reply.body == b"POST /p/x body"
        reply = await caller.get("/p/full")
        assert (reply.status, reply["retry-after"]) == (503, "1")


async def raw_app(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"  # knows nothing of lifespans
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"X-A", b"1")]})
    await send({"type": "http.response.body", "body": message["body"] + b"!"})


async def test_any_asgi_app_also_one_without_lifespan() -> None:
    @ingress(raw_app)
    class Raw: ...

    async with serving(Raw) as caller:
        reply = await caller.http("POST / HTTP/1.1", b"body")
        assert (reply.body, reply["x-a"], reply["content-length"]) == (b"body!", "1", "5")


async def test_a_builder_function_and_a_building_method() -> None:
    def build() -> Any:
        return raw_app

    @ingress(build)
    class Built: ...

    @ingress(None)
    class Builds:
        async def __serve_build_asgi_app__(self) -> Any:
            return raw_app

    for cls in (Built, Builds):
        async with serving(cls) as caller:
            assert (await caller.http("POST / HTTP/1.1", b"a")).body == b"a!"


async def test_a_builder_that_builds_no_app_is_told() -> None:
    @ingress(None)
    class Builds:
        def __serve_build_asgi_app__(self) -> Any:
            return 3

    host = new_host()
    with pytest.raises(TypeError, match="returned 3; expected an ASGI app"):
        await host.start(start_spec(Builds))
    await host.stop()


async def test_a_failing_startup_fails_the_start() -> None:
    @contextlib.asynccontextmanager
    async def broken(app: Any) -> AsyncIterator[None]:
        raise ValueError("no database")
        yield  # type: ignore[unreachable]

    made = FastAPI(lifespan=broken)

    @ingress(made)
    class Broken: ...

    host = new_host()
    with pytest.raises(RuntimeError, match="no database"):
        async with serving(Broken):
            pass
    await host.stop()


async def test_the_head_leaves_before_a_body_that_takes_its_time() -> None:
    go = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await go.wait()
        await send({"type": "http.response.body", "body": b"late"})

    @ingress(slow)
    class Slow: ...

    async with serving(Slow) as caller:
        call = caller.request("GET / HTTP/1.1")
        await caller.conn.until(lambda sent: sent and sent[-1].flags & frames.STREAM)
        go.set()
        assert (await caller.reply(call)).body == b"late"


async def test_receive_tells_of_a_client_that_is_gone() -> None:
    told = asyncio.Event()

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await receive()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert await receive() == {"type": "http.disconnect"}
            with pytest.raises(OSError, match="gone"):
                await send({"type": "http.response.start", "status": 200})
            told.set()
            raise

    @ingress(patient)
    class Patient: ...

    async with serving(Patient) as caller:
        call = caller.request("GET / HTTP/1.1")
        for _ in range(10):
            await asyncio.sleep(0)
        caller.frame(frames.CANCEL, call_id=call)
        await told.wait()


@pytest.mark.parametrize("messages", [[], [{"type": "http.response.start", "status": 200}]])
async def test_an_app_that_does_not_answer(
    messages: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        for message in messages:
            await send(message)

    @ingress(silent)
    class Silent: ...

    async with serving(Silent) as caller:
        assert (await caller.get()).status == 500
    assert "without completing" in caplog.text
