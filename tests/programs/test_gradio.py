"""Gradio's pages as deployments: below a route prefix, with queue and streams, calling others."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from salver import serve
from salver.serve.gradio_integrations import GradioIngress, GradioServer

OFFLINE = {"runtime_env": {"env_vars": {"GRADIO_ANALYTICS_ENABLED": "False"}}}


def page() -> Any:
    import gradio  # not above: who imports it starts threads

    def greet(name: str, times: float) -> str:
        return f"Hello {name}" + "!" * int(times)

    def count(times: float) -> Iterator[int]:
        yield from range(int(times))

    with gradio.Blocks(title="Greeter") as blocks:
        name, times, said = gradio.Textbox(), gradio.Number(), gradio.Textbox()
        gradio.Button("greet").click(greet, [name, times], said, api_name="greet")
        gradio.Button("count").click(count, times, said, api_name="count")
    return blocks


@serve.deployment
class Doubler:
    def __call__(self, number: float) -> float:
        return number * 2


@serve.deployment(ray_actor_options=OFFLINE)
class Calculator(GradioIngress):
    """A page whose function is a method, which calls another deployment."""

    def __init__(self, doubler: Any) -> None:
        import gradio

        self.doubler = doubler
        super().__init__(lambda: gradio.Interface(self.double, "number", "number", api_name="sum"))

    async def double(self, number: float) -> Any:
        return await self.doubler.remote(number)


def mounted() -> FastAPI:
    import gradio

    app: FastAPI = gradio.mount_gradio_app(FastAPI(), page(), path="/page")
    return app


@serve.deployment(ray_actor_options=OFFLINE)
@serve.ingress(mounted)
class Mounted:
    """A page below a path of an app of one's own."""


def events(client: httpx.Client, root: str, function: str, *args: Any) -> list[Any]:
    """What a function of the page answers by its queue: the data of each event, in their order."""
    asked = client.post(f"{root}/gradio_api/call/{function}", json={"data": args})
    stream = client.get(f"{root}/gradio_api/call/{function}/{asked.json()['event_id']}")
    lines = stream.text.splitlines()
    return [json.loads(line.removeprefix("data: "))[0] for line in lines if line[:5] == "data:"]


def test_a_page_is_served_with_its_functions_and_streams(client: httpx.Client) -> None:
    serve.run(
        GradioServer.options(ray_actor_options=OFFLINE).bind(page),
        name="page",
        route_prefix="/demo",
    )
    shown = client.get("/demo/")
    assert shown.headers["content-type"].startswith("text/html")
    assert "Greeter" in shown.text
    assert client.get("/demo/config").json()["root"].endswith("/demo")
    assert events(client, "/demo", "greet", "you", 3) == ["Hello you!!!"]
    assert events(client, "/demo", "count", 3)[:3] == ["0", "1", "2"]
    serve.delete("page")


def test_a_page_s_functions_may_be_methods_that_call_other_deployments(
    client: httpx.Client,
) -> None:
    serve.run(Calculator.bind(Doubler.bind()), name="sum", route_prefix="/sum")
    assert events(client, "/sum", "sum", 21) == [42]
    serve.delete("sum")


def test_a_page_may_be_mounted_below_a_path_of_an_app(client: httpx.Client) -> None:
    serve.run(Mounted.bind(), name="mounted", route_prefix="/m")
    assert "Greeter" in client.get("/m/page/").text
    assert events(client, "/m/page", "count", 2)[:2] == ["0", "1"]
    serve.delete("mounted")


def test_without_gradio_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'salver\[gradio\]'$"):
        GradioIngress(lambda: None).__serve_build_asgi_app__()
