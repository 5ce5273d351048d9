"""Datatypes, shapes and sizes: what is impossible is refused before memory is taken for it."""

from __future__ import annotations

import tracemalloc
from importlib import import_module

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from salver.oip import bfloat16
from salver.oip.datatypes import DATATYPES, MAX_DIMS, count_of, datatype_named, name_of
from salver.oip.errors import InvalidResultError, InvalidTensorError
from salver.oip.framing import pack, unpack
from salver.oip.types import Tensor


def test_there_are_fourteen_datatypes() -> None:
    assert len(DATATYPES) == 14


@pytest.mark.parametrize("name", [name for name in DATATYPES if name != "BF16"])
def test_arrays_of_a_datatype_have_that_datatype(name: str) -> None:
    assert name_of(DATATYPES[name].dtype) == name


def test_big_endian_and_strided_arrays_become_what_the_protocol_wants() -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::2]

    tensor = Tensor.of("x", array)

    assert tensor.datatype == "INT32"
    assert bytes(tensor.contents()) == np.ascontiguousarray(array.astype("<i4")).tobytes()


def test_an_unknown_datatype_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidTensorError, match=r"^\.datatype: unknown datatype 'FP8'; .*FP16"):
        datatype_named("FP8")


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(InvalidResultError, match="complex128 has no datatype"):
        name_of(np.dtype(complex))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, -1), r"^\.shape\[1\]: a size of -1 is impossible"),
        ((True,), r"^\.shape\[0\]: expected an integer, got True"),
        ((1.0,), r"^\.shape\[0\]: expected an integer, got 1\.0"),
        ((2**62, 2**62), r"^\.shape: the shape .* is larger than any memory"),
        ((0, 2**62, 4), r"^\.shape: the shape .* is larger than any memory"),
        ((1,) * (MAX_DIMS + 1), r"^\.shape: 33 dimensions are given, at most 32"),
    ],
)
def test_impossible_shapes_are_refused(shape: tuple[int, ...], message: str) -> None:
    tracemalloc.start()
    with pytest.raises(InvalidTensorError, match=message):
        count_of(shape, DATATYPES["FP32"])

    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


@given(st.lists(st.integers(0, 2**63), max_size=32))
def test_any_accepted_shape_is_one_that_numpy_can_make(shape: list[int]) -> None:
    try:
        count = count_of(shape, DATATYPES["FP32"])
    except InvalidTensorError:
        return
    if count == 0:
        assert np.frombuffer(b"", np.float32).reshape(shape).size == 0


@given(st.lists(st.binary(max_size=8)))
def test_framed_elements_are_unframed(elements: list[bytes]) -> None:
    assert unpack(pack(elements), len(elements)).tolist() == elements


@given(st.binary(max_size=40), st.integers(0, 5))
def test_unframing_never_takes_what_is_not_exact(contents: bytes, count: int) -> None:
    try:
        elements = unpack(contents, count)
    except InvalidTensorError:
        return
    assert len(elements) == count
    assert pack(elements.tolist()) == contents


def test_overlong_prefix_is_named() -> None:
    with pytest.raises(InvalidTensorError, match=r"^element 1 claims 9 bytes, but 1 are left$"):
        unpack(b"\x01\x00\x00\x00a\x09\x00\x00\x00b", 2)


@given(st.floats(width=32))
def test_bfloat16_rounds_as_the_reference_does(value: float) -> None:
    ml_dtypes = import_module("ml_dtypes")
    array = np.array([value], dtype=np.float32)
    with np.errstate(all="ignore"):
        expected = array.astype(ml_dtypes.bfloat16).view(np.uint16)
    if np.isnan(value):
        assert np.isnan(bfloat16.widen(bfloat16.narrow(array)))[0]
    else:
        assert bfloat16.narrow(array)[0] == expected[0]


def test_raw_contents_are_not_copied() -> None:
    contents = bytearray(np.arange(4, dtype="<f4").tobytes())

    array = Tensor.raw("x", "FP32", (2, 2), memoryview(contents)).array()
    contents[0:4] = np.float32(7).tobytes()

    assert array[0, 0] == 7


def test_unaligned_contents_become_aligned() -> None:
    contents = memoryview(b"x" + np.arange(4, dtype="<f4").tobytes())[1:]

    array = Tensor.raw("x", "FP32", (4,), contents).array()

    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]
