"""Tensors of every datatype for property tests."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from salver.oip import proto
from salver.oip.bodies import write_body
from salver.oip.datatypes import DATATYPES
from salver.oip.framing import as_objects
from salver.oip.messages import read_infer_response
from salver.oip.types import InferRequest, InferResponse, RequestedOutput, Tensor

_RESPONSE = proto.message("ModelInferResponse")
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
NAMES = st.text(min_size=1, max_size=12)
PARAMETERS = st.dictionaries(
    NAMES,
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda x: x != int(x)),
    max_size=2,
).map(lambda found: {f"p {name}": value for name, value in found.items()})  # fmt: skip


@st.composite
def arrays(draw: st.DrawFn, datatype: str, shape: Any = None) -> Any:
    """An array in the form in which that datatype is held."""
    shape = draw(SHAPES) if shape is None else shape
    if datatype == "BYTES":
        count = int(np.prod(shape, dtype=np.int64))
        element = st.binary(max_size=6) | st.text(max_size=6).map(str.encode)
        elements = draw(st.lists(element, min_size=count, max_size=count))
        return as_objects(elements).reshape(shape)
    return draw(hnp.arrays(DATATYPES[datatype].dtype, shape))


@st.composite
def tensors(draw: st.DrawFn, names: Any = NAMES, datatypes: Any = None) -> Tensor:
    datatype = draw(st.sampled_from(list(DATATYPES)) if datatypes is None else datatypes)
    array = draw(arrays(datatype))
    return Tensor(draw(names), datatype, array.shape, array, draw(PARAMETERS))


@st.composite
def requests(draw: st.DrawFn, datatypes: Any = None) -> InferRequest:
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    return InferRequest(
        [draw(tensors(st.just(name), datatypes)) for name in names],
        [RequestedOutput(name, draw(PARAMETERS)) for name in names[:2]],
        id=draw(st.text(max_size=5)),
        parameters=draw(PARAMETERS),
    )


def held(array: Any, datatype: str) -> Any:
    """Something to compare: bits, as NaN would hide equality."""
    kind = DATATYPES[datatype]
    if kind.kind == "bytes":
        return array.ravel().tolist()
    return np.ascontiguousarray(array).reshape(-1).view(f"u{kind.width}").tolist()


def canonical(tensor: Tensor) -> Any:
    """All of a tensor in a form that can be compared; every NaN is the same NaN."""
    array = tensor.array()
    if tensor.datatype == "BF16":
        exponent = (array & 0x7F80) == 0x7F80
        array = np.where(exponent & ((array & 0x7F) != 0), np.uint16(0x7FC0), array)
    elif DATATYPES[tensor.datatype].kind == "float":
        array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
    return (
        tensor.name, tensor.datatype, tuple(tensor.shape), array.shape,
        held(array, tensor.datatype), tensor.parameters,
    )  # fmt: skip


def answered(response: InferResponse, typed: bool = False) -> bytes:
    """The bytes of a ModelInferResponse, as a replica sends them."""
    front, parts = write_body(response, typed)
    return b"".join((front, *parts))


def over_grpc(response: InferResponse, typed: bool = False) -> InferResponse:
    """A response as a client has it."""
    return read_infer_response(_RESPONSE.FromString(answered(response, typed)))


def canonical_request(request: InferRequest) -> Any:
    return (
        [canonical(tensor) for tensor in request.inputs],
        [(output.name, output.parameters) for output in request.outputs],
        request.id,
        request.parameters,
    )
