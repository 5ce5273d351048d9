"""Bodies written down by hand from the protocol's description, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import numpy as np

from salver.oip.metadata import (
    ErrorBody,
    ModelIndexEntry,
    ModelMetadata,
    ModelReady,
    ServerMetadata,
    ServerReady,
    TensorMetadata,
)
from salver.oip.rest import RestFormat, write_response
from salver.oip.types import InferResponse, Tensor

REST = RestFormat()

TWO_INPUTS = b"""{
  "id": "42",
  "parameters": {"priority": 1, "note": "x", "flag": true, "rate": 0.5},
  "inputs": [
    {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
    {"name": "input1", "shape": [3], "datatype": "BOOL", "data": [true, false, true],
     "parameters": {"content_type": "np"}}
  ],
  "outputs": [{"name": "output0", "parameters": {"binary_data": false}}]
}"""


def test_the_request_of_the_specification_is_read() -> None:
    request = REST.read_request(TWO_INPUTS)

    assert request.id == "42"
    assert request.parameters == {"priority": 1, "note": "x", "flag": True, "rate": 0.5}
    assert request.inputs[0].array().tolist() == [[1, 2], [3, 4]]
    assert request.inputs[1].array().tolist() == [True, False, True]
    assert request.inputs[1].parameters == {"content_type": "np"}
    assert [output.name for output in request.outputs] == ["output0"]


def test_nested_and_flat_data_are_the_same() -> None:
    flat = b'{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1.0,2,3,4.5]}]}'
    nested = flat.replace(b"[1.0,2,3,4.5]", b"[[1.0,2],[3,4.5]]")

    first, second = (REST.read_request(body).inputs[0].array() for body in (flat, nested))

    assert np.array_equal(first, second)


def test_scalars_and_empty_tensors_are_tensors() -> None:
    body = (
        b'{"inputs":[{"name":"s","shape":[],"datatype":"FP64","data":[5]},'
        b'{"name":"e","shape":[0,3],"datatype":"INT8","data":[]}]}'
    )

    scalar, empty = REST.read_request(body).inputs

    assert scalar.array().shape == ()
    assert scalar.array()[()] == 5
    assert empty.array().shape == (0, 3)


def test_a_request_with_binary_tensors_is_read() -> None:
    """Two binary inputs of 16 and 3 bytes behind the JSON, as the extension's own example."""
    head = (
        b'{"model_name":"mymodel","inputs":[{"name":"input0","shape":[2,2],"datatype":"UINT32",'
        b'"parameters":{"binary_data_size":16}},{"name":"input1","shape":[3],"datatype":"BOOL",'
        b'"parameters":{"binary_data_size":3}}],"outputs":[{"name":"output0","parameters":'
        b'{"binary_data":true}}]}'
    )
    blobs = bytes((1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 1, 0, 1))

    request = REST.read_request(head + blobs, str(len(head)))

    assert request.inputs[0].array().tolist() == [[1, 2], [3, 4]]
    assert request.inputs[1].array().tolist() == [True, False, True]
    assert request.wants_binary("output0")


def test_strings_in_binary_form_have_their_length_before_them() -> None:
    tensor = Tensor.of("x", np.array(["abc", ""]))

    assert bytes(tensor.contents()) == b"\x03\0\0\0abc\0\0\0\0"


def test_a_response_is_written_flat_and_without_what_is_not_set() -> None:
    response = InferResponse([Tensor.of("output0", np.array([[0.1, 2], [3, 4]], "f4"))], "m")

    assert write_response(response).text == (
        b'{"model_name":"m","outputs":[{"name":"output0","datatype":"FP32","shape":[2,2],'
        b'"data":[0.1,2.0,3.0,4.0]}]}'
    )


def test_a_binary_response_has_sizes_in_place_of_data() -> None:
    response = InferResponse([Tensor.of("y", np.array([1, 2], "u1"))], "m", "1", "42")
    body = write_response(response, lambda _: True)

    assert body.join() == (
        b'{"model_name":"m","outputs":[{"name":"y","datatype":"UINT8","shape":[2],'
        b'"parameters":{"binary_data_size":2}}],"model_version":"1","id":"42"}\x01\x02'
    )
    assert body.header_length == body.size - 2


def said(value: Any) -> Any:
    return json.loads(msgspec.json.encode(value))


def test_metadata_and_health_are_what_clients_look_for() -> None:
    tensor = TensorMetadata("x", "FP32", [-1, 4])
    model = ModelMetadata("m", "python", [tensor], [])

    assert said(ServerMetadata("salver", "1", [])) == {
        "name": "salver", "version": "1", "extensions": [],
    }  # fmt: skip
    assert said(model) == {
        "name": "m", "platform": "python", "outputs": [],
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    }  # fmt: skip
    assert said(ServerReady(True)) == {"ready": True, "live": True}
    assert said(ModelReady("m", False)) == {"name": "m", "ready": False}
    assert said(ErrorBody("no")) == {"error": "no"}
    assert said([ModelIndexEntry("m", "1", "READY")]) == [
        {"name": "m", "version": "1", "state": "READY", "reason": ""}
    ]
