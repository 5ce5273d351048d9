"""The binary extension: sizes that lie, are missing or left over, and the raw request."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from salver.oip.errors import InvalidMessageError, MalformedBodyError, MismatchError
from salver.oip.metadata import ModelMetadata, TensorMetadata
from salver.oip.rest import RestFormat, write_request, write_response
from salver.oip.types import InferRequest, InferResponse, RequestedOutput, Tensor

REST = RestFormat()
BLOB = np.arange(4, dtype="<f4").tobytes()


TWICE = {"binary_data_size": 16, "shared_memory_region": "r"}


def item(size: Any = 16, **more: Any) -> dict[str, Any]:
    found = {
        "name": "x",
        "datatype": "FP32",
        "shape": [4],
        "parameters": {"binary_data_size": size},
    }
    return found | more


def text(*items: dict[str, Any]) -> bytes:
    return json.dumps({"inputs": items}).encode()


def test_blobs_are_read_in_the_order_of_the_tensors_without_a_copy() -> None:
    head = text(item(), item(name="y", shape=[1], parameters={}, data=[5]), item(name="z"))
    body = memoryview(bytearray(head + BLOB + BLOB[::-1]))

    request = REST.read_request(body, str(len(head)))

    assert request.inputs[0].array().tolist() == [0, 1, 2, 3]
    assert request.inputs[1].array().tolist() == [5]
    assert request.inputs[2].contents() == BLOB[::-1]
    assert request.inputs[0].parameters == {}
    body[len(head)] = 1  # seen through the tensor, unless it had to be aligned
    assert request.inputs[2].data is not None


@pytest.mark.parametrize(
    ("items", "blob", "message"),
    [
        ([item(17)], BLOB, r"^\$\.inputs\[0\]\.parameters\.binary_data_size: 17 .* 16 are left$"),
        ([item(12)], BLOB, r"^\$\.inputs\[0\]\.parameters\.binary_data_size: 12 bytes are"),
        ([item(2**70)], BLOB, r"binary_data_size: 1180591620717411303424 bytes are claimed"),
        ([item(-1)], BLOB, r"binary_data_size: expected a number of bytes, got -1$"),
        ([item(True)], BLOB, r"binary_data_size: expected a number of bytes, got True$"),
        ([item("16")], BLOB, r"binary_data_size: expected a number of bytes, got '16'$"),
        ([item(16.0)], BLOB, r"binary_data_size: expected a number of bytes, got 16\.0$"),
        ([item()], BLOB + b"x", r"^1 bytes are left over after the last tensor"),
        ([item(data=[1, 2, 3, 4])], BLOB, r"either data or binary_data_size, not both$"),
        ([item(parameters=TWICE)], BLOB, r"not in both$"),
        ([item(), item(name="y")], BLOB, r"^\$\.inputs\[1\]\..*16 .* claimed, but 0 are left$"),
        ([item(shape=[2**40])], BLOB, r"16 bytes are given, but 1099511627776 elements"),
        ([item(datatype="BYTES", shape=[2**40])], BLOB, r"at least 4398046511104$"),
        ([item(datatype="BYTES", shape=[1])], BLOB, r"1 of 1 elements .* 12 bytes are left over"),
    ],
)  # fmt: skip
def test_lying_sizes_are_refused_and_cost_no_memory(
    items: list[dict[str, Any]], blob: bytes, message: str
) -> None:
    head = text(*items)
    tracemalloc.start()
    with pytest.raises(InvalidMessageError, match=message):
        REST.read_request(head + blob, len(head))

    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


@pytest.mark.parametrize("length", ["-1", "abc", "", "1.5", "9" * 30, "٣", "+3", "1_0"])
def test_a_header_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(
        MalformedBodyError, match="Inference-Header-Content-Length must be a number"
    ):
        REST.read_request(b"{}", length)


def test_a_header_beyond_the_body_is_refused() -> None:
    with pytest.raises(MalformedBodyError, match=r"is 3, but the body has only 2 bytes$"):
        REST.read_request(b"{}", "3")


def test_binary_data_without_the_header_are_refused() -> None:
    with pytest.raises(InvalidMessageError, match=r"Header-Content-Length, which is missing$"):
        REST.read_request(text(item()))


@given(st.binary(max_size=120), st.integers(0, 130))
def test_arbitrary_bytes_raise_only_our_errors(body: bytes, length: int) -> None:
    with pytest.raises(InvalidMessageError):
        REST.read_request(body, length)


@given(st.data())
def test_one_changed_byte_raises_only_our_errors(data: st.DataObject) -> None:
    head = text(
        item(), item(name="s", datatype="BYTES", shape=[2], parameters={"binary_data_size": 10})
    )
    body = bytearray(head + BLOB + b"\x01\0\0\0a\x01\0\0\0b")
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        request = REST.read_request(bytes(body), len(head))
    except InvalidMessageError:
        return
    for tensor in request.inputs:
        tensor.array()


def model(shape: list[int], datatype: str = "FP32", inputs: int = 1) -> ModelMetadata:
    tensors = [TensorMetadata(f"x{at}", datatype, shape) for at in range(inputs)]
    return ModelMetadata("m", "", tensors, [])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [([4], (4,)), ([-1], (4,)), ([-1, 2], (2, 2)), ([-1, -1], (1, 4)), ([2, -1, 1], (2, 2, 1))],
)
def test_the_shape_of_a_raw_request_comes_from_the_metadata(
    shape: list[int], expected: tuple[int, ...]
) -> None:
    request = REST.read_request(BLOB, "0", model(shape))

    assert request.inputs[0].name == "x0"
    assert request.inputs[0].array().shape == expected
    assert request.wants_binary("anything")


def test_a_raw_request_leaves_out_what_is_optional() -> None:
    metadata = model([4])
    metadata.inputs.insert(0, TensorMetadata("top", "INT64", [1], {"optional": True}))
    read = RestFormat().read_request(bytes(16), 0, metadata)

    assert [tensor.name for tensor in read.inputs] == ["x0"]


def test_a_raw_request_of_bytes_is_the_element_itself() -> None:
    request = REST.read_request(b"hello", "0", model([-1], "BYTES"))

    assert request.inputs[0].array().tolist() == [b"hello"]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "exactly one input; the count of those that this one needs is unknown$"),
        (model([4], inputs=2), "exactly one input; the count of those that this one needs is 2$"),
        (model([2, -1, -1]), r"one variable size, but the model's shape is \[2, -1, -1\]$"),
        (model([-1, 3]), r"^16 bytes do not fill a tensor of shape \[-1, 3\]$"),
        (model([0, -1]), "do not fill"),
        (model([5]), "16 bytes are given, but 5 elements of FP32 take 20$"),
    ],
)
def test_a_raw_request_that_has_no_shape_is_refused(metadata: Any, message: str) -> None:
    with pytest.raises((MismatchError, InvalidMessageError), match=message):
        REST.read_request(BLOB, "0", metadata)


def test_outputs_are_binary_where_the_request_says_so() -> None:
    request = InferRequest(
        [],
        [RequestedOutput("a"), RequestedOutput("b", {"binary_data": False})],
        parameters={"binary_data_output": True},
    )
    response = InferResponse([Tensor.of(name, np.ones(2, "f4")) for name in "ab"], "m")

    body = write_response(response, request.wants_binary)
    outputs = json.loads(body.join()[: body.header_length])["outputs"]

    assert outputs[0]["parameters"]["binary_data_size"] == 8
    assert "data" not in outputs[0]
    assert outputs[1]["data"] == [1, 1]
    assert body.blobs == (np.ones(2, "f4").tobytes(),)
    assert body.size == len(body.join())


def test_a_body_without_blobs_is_plain_json() -> None:
    body = write_response(InferResponse([Tensor.of("a", np.ones(1))], "m"))

    assert body.header_length is None
    assert json.loads(body.join())["outputs"][0]["data"] == [1]


def test_a_tensor_in_shared_memory_has_no_data_on_the_way() -> None:
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 8}
    request = InferRequest([Tensor("x", "FP32", (2,), None, parameters)])

    read = REST.read_request(write_request(request).join()).inputs[0]

    assert read.data is None
    assert read.parameters == parameters
