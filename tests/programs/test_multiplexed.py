"""Many models over several replicas: loaded once, held while in use, and found by their calls."""

# A class decorator cannot change what a type checker takes the class for.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from salver import serve


class Model:
    def __init__(self, model_id: str) -> None:
        self.model_id = model_id


@serve.deployment(num_replicas=3, max_ongoing_requests=10)
class Many:
    def __init__(self) -> None:
        self.loads: Counter[str] = Counter()
        self.go = asyncio.Event()

    @serve.multiplexed(max_num_models_per_replica=2)
    async def get_model(self, model_id: str) -> Model:
        self.loads[model_id] += 1
        await asyncio.sleep(0)
        if model_id == "broken":
            raise ValueError("no such weights")
        return Model(model_id)

    async def __call__(self, request: Any = None) -> dict[str, str]:
        model = await self.get_model(serve.get_multiplexed_model_id())
        return {"model": model.model_id, "replica": serve.get_replica_context().replica_tag}

    async def where(self) -> str:
        await self.get_model(serve.get_multiplexed_model_id())
        return serve.get_replica_context().replica_tag

    async def tag(self) -> str:
        return serve.get_replica_context().replica_tag

    async def asked_for(self) -> str:
        return serve.get_multiplexed_model_id()


@serve.deployment
class Front:
    def __init__(self, many: Any) -> None:
        self.many = many

    async def __call__(self, request: Any) -> dict[str, Any]:
        own = serve.get_multiplexed_model_id()
        child = await self.many.asked_for.remote()
        named = await self.many.options(multiplexed_model_id="named").asked_for.remote()
        return {"own": own, "child": child, "named": named}


@pytest.fixture(scope="module")
def many(door: str) -> Any:
    handle = serve.run(Many.bind(), name="many", route_prefix="/many")
    tags: set[str] = set()
    while len(tags) < 3:  # every replica has been dialled
        tags.add(handle.tag.remote().result())
    yield handle
    serve.delete("many")


def test_a_model_stays_where_it_was_loaded(many: Any) -> None:
    """Six models, three replicas with room for two each: each has its place, and keeps it."""

    def places() -> dict[str, str]:
        return {m: many.options(multiplexed_model_id=m).where.remote().result() for m in "abcdef"}

    before: list[dict[str, str]] = []
    while before[-3:] != [now := places()] * 3:  # what other callers had loaded makes room
        before.append(now)
    assert sorted(Counter(now.values()).values()) == [2, 2, 2]


@pytest.mark.parametrize(
    "header",
    ["serve_multiplexed_model_id", "serve-multiplexed-model-id", "Serve-Multiplexed-Model-Id"],
)
def test_requests_name_their_model_by_a_header(
    many: Any, client: httpx.Client, header: str
) -> None:
    replicas: list[str] = []
    while len(replicas) < 5 or len(set(replicas[-5:])) > 1:  # until the door knows who holds it
        answer = client.get("/many", headers={header: "a"}).json()
        assert answer["model"] == "a"
        replicas.append(answer["replica"])


def test_a_request_without_a_model_is_told_what_to_do(many: Any) -> None:
    with pytest.raises(ValueError, match="the request named no model"):
        many.where.remote().result()


def test_a_load_that_fails_is_tried_again(many: Any) -> None:
    broken = many.options(multiplexed_model_id="broken")
    for _ in range(2):
        with pytest.raises(ValueError, match="no such weights"):
            broken.where.remote().result()


def test_child_calls_do_not_inherit_the_model(many: Any, client: httpx.Client) -> None:
    serve.run(Front.bind(Many.bind()), name="front", route_prefix="/front")
    try:
        answer = client.get("/front", headers={"serve_multiplexed_model_id": "mine"}).json()
    finally:
        serve.delete("front")
    assert answer == {"own": "mine", "child": "", "named": "named"}
