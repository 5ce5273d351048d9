"""Batches in replicas: calls that come over HTTP and from handles."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

import salver
from salver import serve
from salver.serve.exceptions import RayServeException
from salver.serve.handle import DeploymentHandle
from salver.testing import run_inline


@serve.deployment(max_ongoing_requests=64)
class Model:
    """Its batches wait until the last of `together` items is there, or not at all."""

    def __init__(self) -> None:
        self.reconfigure({})

    def reconfigure(self, config: dict[str, Any]) -> None:
        size = config.get("size", 8)
        self.predict.set_max_batch_size(size)
        self.predict.set_batch_wait_timeout_s(config.get("wait", 60))

    async def __call__(self, request: Request) -> dict[str, int]:
        number = int(request.query_params["number"])
        return {"number": number, "batch": await self.predict(number)}

    @serve.batch(batch_wait_timeout_s=60)
    async def predict(self, numbers: list[int]) -> list[Any]:
        return [ValueError(str(n)) if n < 0 else len(numbers) for n in numbers]

    @serve.batch
    async def who(self, items: list[int]) -> list[Any]:
        contexts = serve.context._get_serve_batch_request_context()
        model, app = serve.get_multiplexed_model_id(), serve.get_replica_context().app_name
        return [(model, app, context.request_id) for context in contexts]

    @serve.batch(max_batch_size=2, batch_wait_timeout_s=60)
    async def words(self, prompts: list[str]) -> AsyncIterator[list[Any]]:
        longest = max(len(prompt) for prompt in prompts)
        for place in range(longest):
            yield [p[place] if place < len(p) else StopIteration for p in prompts]

    async def spell(self, request: Request) -> StreamingResponse:
        return StreamingResponse(self.words(request.query_params["word"]))

    @serve.batch
    async def wrong(self, items: list[int]) -> list[int]:
        return [0, *items]


@serve.deployment(max_ongoing_requests=64)
class Spell:
    """A batched `__call__` that streams."""

    @serve.batch(max_batch_size=2, batch_wait_timeout_s=60)
    async def __call__(self, requests: list[Request]) -> AsyncIterator[list[Any]]:
        words = [request.query_params["word"] for request in requests]
        for place in range(max(map(len, words))):
            yield [w[place] if place < len(w) else StopIteration for w in words]


@serve.deployment(max_ongoing_requests=64)
@serve.batch(max_batch_size=4, batch_wait_timeout_s=60)
async def doubled(numbers: list[int]) -> list[int]:
    return [2 * number for number in numbers]


@pytest.fixture(scope="module")
def model(door: str) -> Iterator[DeploymentHandle[Any]]:
    yield serve.run(Model.bind(), name="model", route_prefix="/model")
    serve.delete("model")


def test_requests_of_many_clients_share_batches(
    model: DeploymentHandle[Any], client: httpx.Client
) -> None:
    with ThreadPoolExecutor(16) as clients:
        answers = [
            answer.json()
            for answer in clients.map(
                lambda number: client.get("/model", params={"number": number}), range(16)
            )
        ]
    assert answers == [{"number": number, "batch": 8} for number in range(16)]


def test_calls_of_a_handle_share_a_batch(model: DeploymentHandle[Any]) -> None:
    responses = [model.predict.remote(number) for number in range(8)]
    assert [response.result() for response in responses] == [8] * 8


def test_keyword_calls_of_a_handle_share_it_too(model: DeploymentHandle[Any]) -> None:
    responses = [model.predict.remote(1) for _ in range(4)]
    responses += [model.predict.remote(numbers=1) for _ in range(4)]
    assert [response.result() for response in responses] == [8] * 8


def test_one_caller_s_error_is_its_own(model: DeploymentHandle[Any]) -> None:
    responses = [model.predict.remote(number) for number in (*range(7), -5)]
    assert [response.result() for response in responses[:7]] == [8] * 7
    with pytest.raises(ValueError, match=r"^-5\n"):
        responses[7].result()


def test_a_batch_of_the_wrong_length_says_so(model: DeploymentHandle[Any]) -> None:
    with pytest.raises(RayServeException, match=r"Model\.wrong doesn't preserve batch size"):
        model.wrong.remote(1).result()


def test_a_stream_for_every_caller(model: DeploymentHandle[Any]) -> None:
    words = model.options(stream=True).words
    one, two = words.remote("a"), words.remote("bcd")
    assert (list(one), list(two)) == (["a"], ["b", "c", "d"])


def test_a_batch_knows_its_model_its_app_and_its_requests(model: DeploymentHandle[Any]) -> None:
    asked = model.options(multiplexed_model_id="m1")
    name, app, request_id = asked.who.remote(1).result()
    assert (name, app) == ("m1", "model")
    assert request_id


def test_a_batched_call_streams_over_http(door: str, client: httpx.Client) -> None:
    serve.run(Spell.bind(), name="spell", route_prefix="/spell")
    with ThreadPoolExecutor(2) as clients:
        texts = clients.map(
            lambda word: client.get("/spell", params={"word": word}).text, ("to", "from")
        )
        assert list(texts) == ["to", "from"]
    serve.delete("spell")


def test_a_function_can_be_batched_and_deployed(door: str) -> None:
    handle = serve.run(doubled.bind(), name="doubled", route_prefix=None)
    responses = [handle.remote(number) for number in range(4)]
    assert [response.result() for response in responses] == [0, 2, 4, 6]
    serve.delete("doubled")


async def test_reconfigure_sets_the_size_of_its_own_replica_only() -> None:
    options = {"user_config": {"size": 2}}
    async with run_inline(Model.options(**options).bind()) as two, run_inline(Model.bind()) as many:
        assert await asyncio.gather(*(two.handle.predict.remote(n) for n in range(2))) == [2, 2]
        assert await asyncio.gather(*(many.handle.predict.remote(n) for n in range(8))) == [8] * 8


async def test_a_limit_that_keeps_batches_small_is_told(caplog: pytest.LogCaptureFixture) -> None:
    app = Model.options(max_ongoing_requests=5, user_config={"wait": None}).bind()
    with caplog.at_level(logging.WARNING, "salver"):
        async with run_inline(app) as running:
            await running.handle.predict.remote(1)
    assert caplog.text.count("deployment Model lets in 5: its batches will never be full") == 1
    assert "Set max_ongoing_requests=8 or more" in caplog.text


@serve.deployment(max_ongoing_requests=64)
class Typed:
    @salver.endpoint
    @serve.batch(max_batch_size=4, batch_wait_timeout_s=60)
    async def infer(self, x: list[np.ndarray], scale: list[int]) -> list[np.ndarray]:
        return [each * by * len(x) for each, by in zip(x, scale, strict=True)]


async def test_an_endpoint_can_be_batched_and_has_the_types_of_single_items() -> None:
    body = {
        "inputs": [
            {"name": "x", "shape": [2], "datatype": "FP32", "data": [1, 2]},
            {"name": "scale", "shape": [1], "datatype": "INT64", "data": [10]},
        ]
    }
    async with (
        run_inline(Typed.bind()) as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://x") as client,
    ):
        metadata = (await client.get("/v2/models/Typed")).json()
        assert [(i["name"], i["datatype"]) for i in metadata["inputs"]] == [
            ("x", "FP64"),  # any: an array without a dtype
            ("scale", "INT64"),
        ]
        answers = await asyncio.gather(
            *(client.post("/v2/models/Typed/infer", json=body) for _ in range(4))
        )
        assert [answer.json()["outputs"][0]["data"] for answer in answers] == [[40.0, 80.0]] * 4


@serve.deployment(max_ongoing_requests=64)
class Many:
    """Batches of many models, two of which fit."""

    def __init__(self) -> None:
        self.gone: list[str] = []

    @serve.multiplexed(max_num_models_per_replica=2)
    async def load(self, model_id: str) -> Any:
        outer = self

        class Loaded:
            def __del__(self) -> None:
                outer.gone.append(model_id)

            name = model_id

        return Loaded()

    @serve.batch(max_batch_size=4)
    async def predict(self, items: list[int]) -> list[Any]:
        model = await self.load(serve.get_multiplexed_model_id())
        await asyncio.sleep(0)
        return [(model.name, item) for item in items]

    async def unloaded(self) -> list[str]:
        return self.gone


async def test_batches_of_more_models_than_fit_one_after_another() -> None:
    async with run_inline(Many.bind()) as app:
        models = [f"m{number % 4}" for number in range(24)]
        results = await asyncio.gather(
            *(
                app.handle.options(multiplexed_model_id=model).predict.remote(number)
                for number, model in enumerate(models)
            )
        )
        assert results == [(model, number) for number, model in enumerate(models)]
        assert {"m0", "m1"} <= set(await app.handle.unloaded.remote())
