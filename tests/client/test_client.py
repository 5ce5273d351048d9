"""A client and a real instance: the same by HTTP, by shared memory and by gRPC."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salver.client import (
    AsyncClient,
    Client,
    InputError,
    NotFoundError,
    ServerError,
)
from salver.client.values import values_of
from salver.oip.codecs.registry import built_in
from salver.oip.datatypes import DATATYPES
from salver.oip.metadata import ModelMetadata
from salver.oip.types import InferResponse
from tests.oip.strategies import arrays, held
from tests.protocols.models import Order, Point

NUMBERS = [name for name in DATATYPES if name != "BF16"]


@pytest.mark.parametrize("datatype", NUMBERS)
def test_what_goes_in_comes_out(client: Client, datatype: str) -> None:
    model = client.model("identity")

    @settings(deadline=None, max_examples=15)
    @given(array=arrays(datatype))
    def check(array: Any) -> None:
        found = model(array)
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        assert held(found, datatype) == held(array, datatype)

    check()


@settings(deadline=None, max_examples=15)
@given(bits=st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=8))
def test_bfloat16_goes_in_and_comes_out(client: Client, bits: list[int]) -> None:
    ml_dtypes = import_module("ml_dtypes")
    array = np.array(bits, np.uint16).view(ml_dtypes.bfloat16)
    found = client.model("identity")(array)
    assert found.dtype == array.dtype
    assert found.view(np.uint16).tolist() == bits


def test_a_large_tensor_comes_back_as_it_was(client: Client) -> None:
    array = np.random.default_rng(0).random((300, 1000), dtype=np.float32)
    for _ in range(4):
        assert np.array_equal(client.model("identity")(array), array)
    assert np.array_equal(client.model("identity")(array.T), array.T)


def test_several_outputs_are_a_dict_and_lists_become_the_datatype(client: Client) -> None:
    found = client.model("add_sub")([[1, 2, 3, 4]], b=[[1, 2, 3, 4.5]])
    assert found["sum"].dtype == np.float32
    assert {name: array.tolist() for name, array in found.items()} == {
        "sum": [[2, 4, 6, 8.5]],
        "difference": [[0, 0, 0, -0.5]],
    }


def test_outputs_can_be_chosen(client: Client) -> None:
    rows = np.ones((1, 4), np.float32)
    found = client.model("add_sub").infer({"a": rows, "b": rows}, outputs=["difference"])
    assert found.tolist() == [[0, 0, 0, 0]]


def test_text_records_and_left_out_inputs(client: Client) -> None:
    assert client.model("upper")(["a", "ü"]) == ["A", "Ü"]
    typed = client.model("typed")
    assert typed(person={"name": "x"}, point=Point(1, 2)) == {"name": "x", "x": 1, "note": None}
    assert typed(person={"name": "x"}, point=Point(1, 2), scale=3, note="n")["note"] == "n"


def test_a_model_of_pydantic_goes_without_what_is_computed_and_comes_back_with_it(
    client: Client, by_grpc: bool
) -> None:
    order = Order(counts=[1, 2])
    assert client.model("order")(order) == {"counts": [1, 2], "total": 3}
    if not by_grpc:
        assert client.call("/models/order", order=order) == {"counts": [1, 2], "total": 3}


def test_versions_are_models_of_their_own(client: Client) -> None:
    assert client.model("versioned", 1)(1) == 2
    assert client.model("versioned")(1) == 11
    with pytest.raises(NotFoundError, match="no version '3'"):
        client.model("versioned", "3")(1)


def test_a_stream_gives_item_after_item(client: Client) -> None:
    assert list(client.model("count").stream("hi", n=2)) == ["hi 0", "hi 1"]


def test_a_stream_that_breaks_raises_after_what_came(client: Client) -> None:
    items = client.model("breaks").stream("first")
    assert next(items) == "first"
    with pytest.raises(ServerError, match="in the middle"):
        next(items)


def test_a_stream_that_is_left_keeps_nothing(client: Client) -> None:
    items = client.model("count").stream("hi", n=1000)
    assert next(items) == "hi 0"
    items.close()  # type: ignore[attr-defined]
    assert client.model("double")(2.0) == 4.0


def test_plain_calls_are_json(client: Client, by_grpc: bool) -> None:
    if by_grpc:
        with pytest.raises(InputError, match="by HTTP"):
            client.call("/double", x=4)
        return
    assert client.call("/double", x=4) == 8.0
    with pytest.raises(InputError):
        client.call("/double", y=4)
    with pytest.raises(InputError, match="cannot be written as JSON"):
        client.call("/double", x=object())
    with pytest.raises(NotFoundError):
        client.call("/nothing")


@pytest.mark.parametrize(
    ("model", "inputs", "said"),
    [
        ("identity", {"y": 1}, "no input 'y'"),
        ("identity", {}, "'x' is missing"),
        ("add_sub", {"a": np.zeros((1, 4)), "b": [[1, 2, 3, 4]]}, "expected FP32"),
        ("add_sub", {"a": [[1, 2]], "b": [[1, 2, 3, 4]]}, r"expected the shape \[-1, 4\], got"),
        ("add_sub", {"a": [["x"] * 4], "b": [[1, 2, 3, 4]]}, "expected FP32"),
        ("add_sub", {"a": [[1e39] * 4], "b": [[1] * 4]}, "a value is too large for FP32"),
        ("double", {"x": "2"}, "expected FP64"),
        ("versioned", {"x": 2**64}, "input 'x'"),
        ("versioned", {"x": 1.5}, "expected INT64"),
        ("upper", {"words": np.zeros(2)}, "expected BYTES"),
        ("upper", {"words": [1]}, r"input 'words': expected str, or a list of them, got \[1\]"),
        ("identity", {"x": 1j}, "a value of type complex has no form"),
    ],
)
def test_what_the_model_does_not_take_is_told_before_anything_is_sent(
    client: Client, model: str, inputs: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        client.model(model)(**inputs)
    assert caught.value.status == 0
    assert f"It is {model}(" in str(caught.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"outputs": "y"}, r"^outputs='y': expected a list of names"),
        ({"id": 5}, r"^id=5: expected a str\.$"),
        ({"parameters": {"a": object()}}, r"^parameters=.* cannot be sent: a value is a object, "),
        ({"inputs": [1.0]}, r"expected a dict of inputs by name, got \[1\.0\]\. It is double\("),
        ({"inputs": {"x": "\ud800"}}, r"input 'x': expected FP64"),
    ],
)
def test_what_no_call_can_say_is_told_before_anything_is_sent(
    client: Client, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        client.model("double").infer(**({"inputs": {"x": 1.0}} | more))
    assert caught.value.status == 0


def test_parameters_may_be_numbers_of_numpy(client: Client) -> None:
    found = client.model("count").infer({"text_input": "hi"}, parameters={"n": np.int64(1)})
    assert found == "hi 0"


def test_what_the_model_raises_is_told_with_its_message(client: Client, by_grpc: bool) -> None:
    with pytest.raises(ServerError, match=r"^ValueError: cannot do 1\.0$") as caught:
        client.model("raises")(1.0)
    assert caught.value.status == (13 if by_grpc else 500)


def test_both_ways_say_the_same_of_what_only_the_server_sees(server: str) -> None:
    said = []
    for local in (False, True):
        with Client(server, local=local) as client, pytest.raises(InputError) as caught:
            client.model("add_sub").infer({"a": [[1] * 4], "b": [[1] * 4]}, outputs=["other"])
        said.append((caught.value.status, str(caught.value)))
    assert said[0] == said[1]
    assert said[0][0] == 400


def test_the_server_says_what_it_is(client: Client) -> None:
    assert client.live()
    assert client.ready()
    assert client.model("double").ready()
    assert client.metadata().name == "salver"
    assert "identity" in {model.name for model in client.models()}
    assert [t.name for t in client.model("add_sub").metadata().inputs] == ["a", "b"]
    with pytest.raises(NotFoundError):
        client.model("nothing").ready()


@pytest.mark.parametrize("way", ["http", "memory"])
async def test_a_thousand_calls_at_once_are_answered_each_its_own(server: str, way: str) -> None:
    async with AsyncClient(server, local=way == "memory") as client:
        model = client.model("identity")
        calls = (model(np.full(3, number, np.int32)) for number in range(1000))
        found = await asyncio.gather(*calls)
        assert [array.tolist() for array in found] == [[number] * 3 for number in range(1000)]
        assert client._calling.transport._pool.connected <= 256  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["http", "memory", "grpc"])
async def test_the_asynchronous_client_does_the_same(server: str, rpc: str, way: str) -> None:
    array = np.random.default_rng(0).random(100_000)
    url = rpc if way == "grpc" else server
    async with AsyncClient(url, local=way == "memory") as client:
        assert np.array_equal(await client.model("identity")(array), array)
        doubled = await asyncio.gather(*(client.model("double")(float(n)) for n in range(20)))
        assert doubled == [2.0 * n for n in range(20)]
        assert [x async for x in client.model("count").stream("hi", n=2)] == ["hi 0", "hi 1"]
        if way != "grpc":
            assert await client.call("/double", x=4) == 8.0
        assert await client.live()
        assert await client.ready()
        assert await client.model("double").ready()
        assert (await client.metadata()).name == "salver"
        assert await client.models()
        with pytest.raises(InputError):
            await client.model("double")(y=1)


def test_the_columns_of_a_frame_are_a_frame_again() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    for some in (frame, frame[["a"]]):
        answer = InferResponse(built_in().group_named("pd").encode_all(some))
        assert values_of(answer, ModelMetadata("m", "", [], [])).equals(some)


def test_threads_may_share_a_client(client: Client) -> None:
    def work(number: int) -> bool:
        array = np.full(30_000, number, np.int64)
        return all(np.array_equal(client.model("identity")(array), array) for _ in range(10))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))
