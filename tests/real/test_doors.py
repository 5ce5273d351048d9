"""Instances whose door stands elsewhere, or that have none."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request

import salver
from tests.conftest import ROOT
from tests.real.rig import Running

api = FastAPI()


@salver.deployment
@salver.ingress(api)
class Linked:
    @api.get("/thing")
    async def thing(self, request: Request) -> dict[str, Any]:
        return {"url": str(request.url_for("thing")), "root": request.scope["root_path"]}


async def test_links_begin_with_the_root_path() -> None:
    with Running.start(root_path="/api") as running:
        await running.deploy(Linked.bind(), route="/app")
        async with httpx.AsyncClient(base_url=running.instance.url, timeout=60) as client:
            for path in ("/app/thing", "/api/app/thing"):
                said = (await client.get(path)).json()
                assert said["root"] == "/api/app"
                assert said["url"] == f"{running.instance.url}/api/app/thing"
            assert "/api/app/openapi.json" in (await client.get("/app/docs")).text
            assert (await client.get("/api/app/openapi.json")).status_code == 200


@salver.deployment
class Late:
    """Is constructed once a file is there."""

    def __init__(self, go: str) -> None:
        while not Path(go).exists():
            time.sleep(0.01)

    def __call__(self) -> str:
        return "here"


async def test_a_door_says_that_it_is_well_once_the_first_app_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with Running.start() as running:
        async with httpx.AsyncClient(base_url=running.instance.url, timeout=60) as client:
            health = await client.get("/-/healthz")
            assert (health.status_code, health.text) == (503, "Route table is not populated yet.")
            deploying = asyncio.create_task(running.deploy(Late.bind(str(go))))
            while health.text == "Route table is not populated yet.":
                health = await client.get("/-/healthz")
            assert (health.status_code, health.text) == (503, "No replicas are available yet.")
            go.touch()
            await deploying
            health = await client.get("/-/healthz")
            assert (health.status_code, health.text) == (200, "success")


@salver.deployment
class Doubler:
    @salver.endpoint(name="double")
    async def double(self, x: float) -> float:
        return 2 * x


async def test_models_are_below_the_root_path() -> None:
    tensor = {"name": "x", "shape": [1], "datatype": "FP64", "data": [1]}
    with Running.start(root_path="/api") as running:
        await running.deploy(Doubler.bind(), route="/app")
        async with httpx.AsyncClient(base_url=running.instance.url, timeout=60) as client:
            for root in ("", "/api"):
                answer = await client.post(
                    f"{root}/v2/models/double/infer", json={"inputs": [tensor]}
                )
                assert answer.json()["outputs"][0]["data"] == [2.0]
                assert (await client.post(f"{root}/app", json={"x": 1})).json() == 2.0
                assert (await client.get(f"{root}/v2")).json()["name"] == "salver"
            document = await client.get("/v2/models/double/docs/dataplane.json")
            assert document.json()["servers"] == [{"url": "/api"}]


PROGRAM = """
from salver import serve
from salver.api import session

@serve.deployment
def double(x): return 2 * x

serve.start(proxy_location="Disabled")
print(serve.run(double.bind()).remote(4).result(), repr(session._instance.url))
print(serve.status().proxies, serve.status().applications["default"].status)
serve.shutdown()
serve.start(http_options={"host": None})
print(repr(session._instance.url))
serve.shutdown()
"""


def test_without_a_door_apps_are_called_by_handle() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT / "src", capture_output=True, text=True
    )
    assert done.stdout == "8 ''\n{} RUNNING\n''\n", done.stderr
