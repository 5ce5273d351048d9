"""What a public client does over HTTP alone: tensors as JSON, compression, bodies offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

from salver.oip.datatypes import DATATYPES
from tests.protocols.triton import SHAPES, values
from tests.protocols.triton import http as triton


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Any]:
    client = triton.InferenceServerClient(server.removeprefix("http://"), concurrency=2)
    yield client
    client.close()


def tensor(name: str, array: Any, datatype: str, *, binary: bool = True) -> Any:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_every_datatype_comes_back_equal_as_bytes_and_as_json(
    client: Any, datatype: str, shape: list[int]
) -> None:
    array = values(datatype, shape)
    for binary_in in (True, False):
        for binary_out in (True, False):
            if datatype in ("FP16", "BF16") and not (binary_in and binary_out):
                continue  # the client refuses these in JSON
            answer = client.infer(
                "identity",
                [tensor("x", array, datatype, binary=binary_in)],
                outputs=[triton.InferRequestedOutput("output-0", binary_data=binary_out)],
            )
            found = answer.as_numpy("output-0")
            assert found.shape == array.shape
            if datatype == "BYTES" and not binary_out:
                found = np.array([e.encode() for e in found.ravel()], object).reshape(shape)
            assert found.tobytes() == array.tobytes() or (found == array).all()


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression_in_both_directions(client: Any, coding: str) -> None:
    array = np.zeros((100, 100), "f4")
    answer = client.infer(
        "identity",
        [tensor("x", array, "FP32")],
        request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )
    assert (answer.as_numpy("output-0") == array).all()


def test_calls_made_in_the_background(client: Any) -> None:
    array = np.ones(3, "f4")
    waiting = [client.async_infer("identity", [tensor("x", array, "FP32")]) for _ in "123"]
    assert all((one.get_result().as_numpy("output-0") == array).all() for one in waiting)


def test_bodies_that_it_makes_and_parses_offline(client: Any, server: str) -> None:
    body, length = client.generate_request_body([tensor("x", values("FP16", [5]), "FP16")])
    answer = httpx.post(
        f"{server}/v2/models/identity/infer",
        content=body,
        headers={"Inference-Header-Content-Length": str(length)},
        timeout=60,
    )
    read = client.parse_response_body(
        answer.content, header_length=int(answer.headers["inference-header-content-length"])
    )
    assert (read.as_numpy("output-0") == values("FP16", [5])).all()
    assert json.loads(answer.content[: int(answer.headers["inference-header-content-length"])])
