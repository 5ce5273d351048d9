"""Equal in, equal out: every datatype, through every format, alone and one after the other."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings

from salver.oip import simdata
from salver.oip.datatypes import DATATYPES
from salver.oip.messages import read_infer_request, write_infer_request
from salver.oip.proto import parse
from salver.oip.rest import HttpBody, RestFormat, write_request, write_response
from salver.oip.types import InferRequest, InferResponse, Tensor
from tests.oip.strategies import canonical, canonical_request, over_grpc, requests, tensors

REST = RestFormat()
TYPED = st.sampled_from([name for name, kind in DATATYPES.items() if kind.field])


def over_json(request: InferRequest) -> InferRequest:
    return REST.read_request(write_request(request).join())


def over_large_json(request: InferRequest) -> InferRequest:
    """The body is padded, so that the reader for large ones takes it."""
    return REST.read_request(write_request(request).join() + b" " * simdata.LARGE)


def over_binary(request: InferRequest) -> InferRequest:
    body = write_request(request, lambda _: True)
    return REST.read_request(body.join(), body.header_length)


def over_mixed(request: InferRequest) -> InferRequest:
    half = {tensor.name for tensor in request.inputs[::2]}
    body = write_request(request, half.__contains__)
    return REST.read_request(memoryview(body.join()), str(body.header_length or body.size))


def over_raw_protobuf(request: InferRequest) -> InferRequest:
    message = write_infer_request(request)
    return read_infer_request(parse(type(message), message.SerializeToString()))


def over_typed_protobuf(request: InferRequest) -> InferRequest:
    message = write_infer_request(request, typed_contents=True)
    return read_infer_request(parse(type(message), message.SerializeToString()))


ALL = (over_json, over_large_json, over_binary, over_mixed, over_raw_protobuf)


@pytest.mark.parametrize("over", ALL)
@given(request_=requests())
def test_a_request_comes_out_as_it_went_in(over: Any, request_: InferRequest) -> None:
    before = canonical_request(request_)

    assert canonical_request(over(request_)) == before


@given(request_=requests(TYPED))
def test_typed_contents_come_out_as_they_went_in(request_: InferRequest) -> None:
    before = canonical_request(request_)

    assert canonical_request(over_typed_protobuf(request_)) == before


@given(request_=requests(TYPED))
def test_a_request_survives_a_journey_through_all_formats(request_: InferRequest) -> None:
    before = canonical_request(request_)

    for over in (*ALL, over_typed_protobuf):
        request_ = over(request_)

    assert canonical_request(request_) == before


def nested(request: InferRequest) -> bytes:
    """The request with its data as nested lists, the way numpy's tolist() writes them."""
    body = msgspec.json.decode(write_request(request).text)
    for tensor, item in zip(request.inputs, body["inputs"], strict=True):
        flat = np.empty(len(item["data"]), dtype=object)
        flat[:] = item["data"]
        item["data"] = flat.reshape(tensor.shape or (1,)).tolist()
    return msgspec.json.encode(body)


@pytest.mark.parametrize("padding", [0, simdata.LARGE])
@given(request_=requests())
def test_nested_data_are_read_like_flat_ones(padding: int, request_: InferRequest) -> None:
    read = REST.read_request(nested(request_) + b" " * padding)

    assert canonical_request(read) == canonical_request(request_)


@pytest.mark.parametrize("binary", [False, True])
@given(tensor=tensors(), model=st.text(max_size=5))
def test_a_response_comes_out_as_it_went_in(binary: bool, tensor: Tensor, model: str) -> None:
    response = InferResponse([tensor], model, "1", "id", {"a": 1})
    before = canonical(tensor)
    body: HttpBody = write_response(response, lambda _: binary)

    read = REST.read_response(body.join(), body.header_length)

    assert canonical(read.outputs[0]) == before
    assert (read.model_name, read.model_version, read.id) == (model, "1", "id")
    assert read.parameters == {"a": 1}


@given(tensor=tensors())
def test_a_response_survives_protobuf(tensor: Tensor) -> None:
    before = canonical(tensor)

    read = over_grpc(InferResponse([tensor], "m"))

    assert canonical(read.outputs[0]) == before


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), datatype=TYPED.filter(lambda name: name != "BYTES"))
def test_large_tensors_are_exact(seed: int, datatype: str) -> None:
    """Random bits: every exponent, all special values, the ends of the integers."""
    width = DATATYPES[datatype].width
    bits = np.random.default_rng(seed).integers(0, 256, 600 * width, dtype=np.uint8)
    bits = bits % 2 if datatype == "BOOL" else bits
    array = bits.view(DATATYPES[datatype].dtype).reshape(2, 300)
    request = InferRequest([Tensor("x", datatype, array.shape, array)])
    before = canonical_request(request)

    for over in (*ALL, over_typed_protobuf):
        assert canonical_request(over(request)) == before
