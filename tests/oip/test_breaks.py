"""Bytes that are no message: where they break off is told to whoever sent them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from salver.oip import proto
from salver.oip.bodies import read_body
from salver.oip.errors import MalformedBodyError
from salver.oip.messages import write_infer_request
from salver.oip.proto.breaks import find_break
from salver.oip.types import InferRequest
from tests.oip.strategies import requests

Request = proto.message("ModelInferRequest")


def field(number: int, contents: bytes) -> bytes:
    return bytes((number << 3 | 2, len(contents))) + contents


NAMED = field(1, b"x")
FLOATS = "$.inputs[0].contents.fp32_contents[0]"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (field(1, b"m") + b"\x2a\x09" + NAMED, "$.inputs[0]: 9 bytes are announced at byte 3, "),
        (field(5, NAMED) + field(5, b"\x0a\x05ab"), "$.inputs[1].name: 5 bytes are announced at"),
        (field(5, NAMED + field(5, b"\x32\x03abc")), f"{FLOATS}: its last number breaks off at "),
        (field(5, NAMED + field(3, b"\x80")), "$.inputs[0].shape[0]: its last number breaks off"),
        (field(5, field(1, b"a\xff")), "$.inputs[0].name: byte 5 is no UTF-8"),
        (field(7, b"ab") + field(7, b"c")[:-1], "$.raw_input_contents[1]: 1 bytes are announced "),
        (field(4, field(1, b"k") + b"\x12\x05"), "$.parameters[0].value: 5 bytes are announced"),
        (field(1, b"m") + b"leftover", "$: no field begins at byte 3"),
        (field(1, b"m") + bytes(2), "$: no field begins at byte 3"),
        (field(1, b"m") + b"\x80", "$: no field begins at byte 3"),
        (field(5, NAMED + b"\x80"), "$.inputs[0]: no field begins at byte 5"),
        (b"\x7a\x05", "$.15: 5 bytes are announced at byte 0, but 0 are left"),
    ],
)
def test_the_field_and_the_byte_are_named(data: bytes, said: str) -> None:
    with pytest.raises(MalformedBodyError) as caught:
        proto.parse(Request, data)

    path, _, why = said.partition(": ")
    what = "the bytes are no ModelInferRequest message"
    assert str(caught.value).startswith(f"{path}: {what}: {why}")


def test_a_place_is_that_in_what_was_sent_where_contents_were_taken_out_of_it() -> None:
    large = b"\x3a\x80\x80\x02" + bytes(2**15)

    with pytest.raises(MalformedBodyError, match=r"^\$\.inputs\[0\]\.name: .* at byte 32774, "):
        read_body(large + field(5, b"\x0a\x09x"))


@given(request=requests(), cut=st.integers(0), typed=st.booleans())
def test_whatever_protobuf_refuses_has_a_place(
    request: InferRequest, cut: int, typed: bool
) -> None:
    if any(t.datatype in ("FP16", "BF16") for t in request.inputs):
        typed = False
    whole = write_infer_request(request, typed).SerializeToString()
    assert find_break(Request.DESCRIPTOR, whole) is None
    half = whole[: cut % (len(whole) + 1)]
    try:
        Request.FromString(half)
    except Exception:  # noqa: BLE001 - whatever protobuf says of half a message
        found = find_break(Request.DESCRIPTOR, half)
        assert found is not None
        assert found.path.startswith("$")
    else:
        assert find_break(Request.DESCRIPTOR, half) is None


def test_the_search_has_an_end() -> None:
    many = field(5, NAMED) * 20_000

    assert find_break(Request.DESCRIPTOR, many + b"\x80") is None
    with pytest.raises(MalformedBodyError, match=r"^the bytes are no ModelInferRequest message: "):
        proto.parse(Request, many + b"\x80")


def test_numbers_in_the_middle_of_a_large_field_are_not_looked_at() -> None:
    numbers = np.full(2**20, 0x80, "u1").tobytes() + b"\x01"
    kind = proto.message("ModelMetadataResponse.TensorMetadata")
    sized = b"\x1a\x81\x80\x40" + numbers  # of `shape`: one number of a million bytes

    assert find_break(kind.DESCRIPTOR, sized) is None
