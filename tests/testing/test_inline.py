"""The same app without processes: handles, HTTP through any ASGI client, failures, no leftovers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from salver import deployment
from salver.build import build
from salver.errors import DeployFailedError
from salver.spec.status import ApplicationStatus
from salver.testing.inline import InlineApp


class Adder:
    def __init__(self, by: int) -> None:
        self.by = by

    def add(self, number: int) -> int:
        return number + self.by


class Front:
    def __init__(self, adder: Any) -> None:
        self.adder = adder

    async def __call__(self, request: Request) -> dict[str, int]:
        return {"sum": await self.adder.add.remote(int(request.query_params["n"]))}

    async def twice(self, number: int) -> int:
        return int(await self.adder.add.remote(self.adder.add.remote(number)))


class Broken:
    def __init__(self) -> None:
        raise ValueError("no weights")


@pytest.fixture
def app() -> Iterator[InlineApp]:
    app = InlineApp.begin(build(deployment(Front).bind(deployment(Adder).bind(3)), "default", "/"))
    yield app
    app.close()


def test_handles_call_across_deployments(app: InlineApp) -> None:
    assert app.handle.twice.remote(1).result() == 7


async def test_http_goes_through_any_asgi_client_on_its_own_loop(app: InlineApp) -> None:
    transport = httpx.ASGITransport(app=app.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        assert (await client.get("/?n=4")).json() == {"sum": 7}
        assert (await client.get("/-/healthz")).status_code == 200


def test_status_is_that_of_the_same_controller(app: InlineApp) -> None:
    status = app.status().applications["default"]
    assert status.status is ApplicationStatus.RUNNING
    assert set(status.deployments) == {"Adder", "Front"}


def test_replicas_follow_the_load_here_too() -> None:
    scales = {"min_replicas": 0, "max_replicas": 2, "look_back_period_s": 0.1}
    resting = deployment(Adder).options(autoscaling_config=scales).bind(3)
    app = InlineApp.begin(build(resting, "default", "/"))
    try:
        assert app.status().applications["default"].deployments["Adder"].replica_states == {}
        assert app.handle.add.remote(1).result(timeout_s=60) == 4
    finally:
        app.close()


def test_a_failing_constructor_is_an_error_with_its_traceback() -> None:
    with pytest.raises(DeployFailedError, match="no weights"):
        InlineApp.begin(build(deployment(Broken).bind(), "default", "/"))
