"""The same protocols in the test's own process, and beside what an app has for itself."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

from typing import Any

import httpx
from fastapi import FastAPI

import salver
from salver.testing import run_inline

api = FastAPI()


@salver.deployment
@salver.ingress(api)
class Api:
    @api.get("/v2/mine")
    def mine(self) -> str:
        return "mine"


@salver.deployment
@salver.ingress(api)
class ApiAndModel:
    @salver.endpoint(name="m")
    async def predict(self, x: int) -> int:
        return x + 1

    @api.get("/v2/mine")
    def mine(self) -> str:
        return "mine"

    @api.get("/")
    def root(self) -> str:
        return "root"


@salver.deployment
class Both:
    @salver.endpoint(name="m")
    def predict(self, x: int) -> int:
        return x + 1

    async def __call__(self, request: Any) -> str:
        return f"plain {request.method}"


@salver.deployment
class Called:
    @salver.endpoint
    async def __call__(self, x: int) -> int:
        return x + 1


@salver.deployment
class Versions:
    @salver.endpoint(name="m", version="1")
    async def v1(self, x: int) -> int:
        return x + 1

    @salver.endpoint(name="m", version="2")
    async def v2(self, x: int) -> int:
        return x + 2


@salver.deployment
class Around:
    def __init__(self, inner: Any) -> None: ...

    @salver.endpoint
    async def predict(self, y: str) -> str:
        return y


BODY = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [1]}]}


def client(running: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(running.asgi), base_url="http://127.0.0.1"
    )


async def test_without_endpoints_the_paths_are_the_app_s() -> None:
    async with run_inline(Api.bind()) as running, client(running) as http:
        assert (await http.get("/v2/mine")).json() == "mine"
        assert (await http.get("/v2")).json() == {"detail": "Not Found"}


async def test_with_endpoints_the_protocols_have_their_paths() -> None:
    async with run_inline(ApiAndModel.bind()) as running, client(running) as http:
        assert (await http.post("/v2/models/m/infer", json=BODY)).status_code == 200
        assert "not part of the protocol" in (await http.get("/v2/mine")).json()["error"]
        assert (await http.get("/")).json() == "root"


async def test_an_app_that_was_put_on_such_a_path_keeps_it() -> None:
    app = ApiAndModel.bind()
    async with run_inline(app, route_prefix="/v2/app") as running, client(running) as http:
        assert (await http.get("/v2/app/v2/mine")).json() == "mine"
        assert (await http.get("/v2/models/m")).json()["name"] == "m"


async def test_a_plain_call_and_an_endpoint_live_side_by_side() -> None:
    async with run_inline(Both.bind()) as running, client(running) as http:
        assert (await http.post("/", json={"x": 1})).text == "plain POST"
        answer = await http.post("/v2/models/m/infer", json=BODY)
        assert answer.json()["outputs"][0]["data"] == [2]
        assert await running.handle.predict.remote(2) == 3


async def test_call_itself_may_be_the_endpoint() -> None:
    async with run_inline(Called.bind()) as running, client(running) as http:
        assert (await http.post("/", json={"x": 1})).json() == 2
        assert (await http.post("/v2/models/Called/infer", json=BODY)).status_code == 200
        assert await running.handle.remote(2) == 3


async def test_no_document_shows_a_plain_path_that_is_the_protocol_s() -> None:
    shown = {}
    for prefix in ("/", "/app"):
        async with (
            run_inline(Versions.bind(), route_prefix=prefix) as running,
            client(running) as http,
        ):
            document = (await http.get("/v2/models/m/versions/2/docs/dataplane.json")).json()
            shown[prefix] = [path for path in document["paths"] if path.endswith("/v2")]
    assert shown == {"/": [], "/app": ["/app/v2"]}


async def test_no_document_shows_the_plain_path_of_another_deployment() -> None:
    async with run_inline(Around.bind(Called.bind())) as running, client(running) as http:
        assert (await http.post("/", json={"y": "a"})).json() == "a"
        for model, paths in (("Around", ["/"]), ("Called", [])):
            document = (await http.get(f"/v2/models/{model}/docs/dataplane.json")).json()
            assert [path for path in document["paths"] if not path.startswith("/v")] == paths


async def test_shared_memory_of_clients_is_off_by_default() -> None:
    async with run_inline(Called.bind()) as running, client(running) as http:
        answer = await http.get("/v2/systemsharedmemory/status")
        assert answer.status_code == 501
        assert "system shared memory is off" in answer.json()["error"]
        assert "system_shared_memory" not in (await http.get("/v2")).json()["extensions"]


async def test_statistics_and_settings_are_there_in_process_too() -> None:
    async with run_inline(Called.bind()) as running, client(running) as http:
        await http.post("/v2/models/Called/infer", json=BODY)
        (found,) = (await http.get("/v2/models/stats")).json()["model_stats"]
        assert found["inference_count"] == 1
        assert (await http.post("/v2/logging", json={"log_info": False})).json()[
            "log_info"
        ] is False
        assert (await http.post("/v2/logging", json={"log_info": True})).status_code == 200
