"""Serialised messages read and written in parts are what protobuf itself reads and writes."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from salver.oip import proto
from salver.oip.bodies import read_body, write_body
from salver.oip.errors import MalformedBodyError
from salver.oip.messages import fill_response, write_infer_request
from salver.oip.proto.wire import fields
from salver.oip.targets import Target, stream_item, target_of
from salver.oip.types import Buffer, InferRequest, InferResponse, Tensor
from tests.oip.strategies import answered, canonical_request, requests

Request = proto.message("ModelInferRequest")
Response = proto.message("ModelInferResponse")
LARGE = Tensor.of("large", np.arange(20_000, dtype="f4"))


@given(request=requests(), large=st.booleans(), typed=st.booleans())
def test_a_request_is_read_as_it_was_written(
    request: InferRequest, large: bool, typed: bool
) -> None:
    if any(t.datatype in ("FP16", "BF16") for t in request.inputs):
        typed = False
    if large:
        request.inputs.append(LARGE)
    data = write_infer_request(request, typed).SerializeToString()
    for form in (data, memoryview(data)):
        read, is_typed = read_body(form)
        assert canonical_request(read) == canonical_request(request)
        assert is_typed in (False, typed)
        assert target_of(form) == Target(request.model_name, request.model_version, request.id)


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize("size", [0, 3, 20_000])
def test_the_parts_of_a_response_are_the_whole(size: int, typed: bool) -> None:
    tensors = [Tensor.of("a", np.arange(size, dtype="f8")), Tensor.of("b", np.ones(size, "i8"))]
    response = InferResponse([*tensors, Tensor("c", "FP32", (1,))], "m", "1", "é", {"p": True})
    raw: list[Buffer] | None = None if typed else []
    whole = Response()
    fill_response(whole, response, raw)
    whole.raw_output_contents.extend(map(bytes, raw or ()))
    front, parts = write_body(response, typed)
    assert b"".join((front, *parts)) == whole.SerializeToString()
    assert bool(parts) is (size == 20_000 and not typed)


def test_outputs_without_typed_contents_are_raw() -> None:
    halves = InferResponse([Tensor.of("a", np.ones(2, "f2"))])
    assert write_body(halves, True) == write_body(halves, False)


def test_an_item_of_a_stream_holds_the_response() -> None:
    response = answered(InferResponse([LARGE], "m"))
    read = proto.parse(proto.message("ModelStreamInferResponse"), stream_item(response))
    assert read.infer_response == Response.FromString(response)
    assert read.error_message == ""


@given(data=st.binary(max_size=80))
def test_any_bytes_are_read_as_protobuf_reads_them(data: bytes) -> None:
    try:
        message = Request.FromString(data)
    except Exception:  # noqa: BLE001 - whatever protobuf says of bytes that are none
        with pytest.raises(MalformedBodyError):
            read_body(data)
    else:
        expected = Target(message.model_name, message.model_version, message.id)
        assert target_of(data) == expected


@pytest.mark.parametrize(
    "data", [b"\x0a\x02a", b"\x0a", b"\x80" * 11, b"\x0b", b"\x0f\x00", b"\x0d\x00"]
)
def test_bytes_that_are_no_message_have_no_fields(data: bytes) -> None:
    assert fields(data, 10) is None


def test_there_is_an_end_to_counting_fields() -> None:
    assert fields(b"\x08\x00" * 3, 3) == [(8, 0, 1, 2), (8, 2, 3, 4), (8, 4, 5, 6)]
    assert fields(b"\x08\x00" * 4, 3) is None
