"""Typed contents of tensors in gRPC messages, by way of their serialised form.

A packed field of floats, doubles or bools is, on the wire, the array itself behind a tag and a
length. Writing and reading that is a hundred times as fast as element by element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from salver.oip.datatypes import DATATYPES, Datatype
from salver.oip.errors import InvalidResultError, InvalidTensorError
from salver.oip.framing import as_objects
from salver.oip.proto.wire import varint
from salver.oip.types import Tensor

__all__ = ("is_given", "read_contents", "write_contents")

_PACKED: Final = {"bool_contents": b"\x0a", "fp32_contents": b"\x32", "fp64_contents": b"\x3a"}


def is_given(tensor: Any) -> bool:
    """Whether a tensor message has typed contents of any kind."""
    return tensor.HasField("contents") and bool(tensor.contents.ListFields())


def read_contents(contents: Any, kind: Datatype, shape: Sequence[int], count: int) -> Any:
    """The array in a message's typed contents."""
    if not kind.field:
        raise InvalidTensorError(
            f"{kind.name} has no typed contents; send it in raw_input_contents", ".contents"
        )
    for field, _ in contents.ListFields():
        if field.name != kind.field:
            raise InvalidTensorError(
                f"{kind.name} belongs in {kind.field}, but {field.name} is filled", ".contents"
            )
    values = getattr(contents, kind.field)
    if len(values) != count:
        raise InvalidTensorError(
            f"{len(values)} elements are given, but the shape {list(shape)} holds {count}",
            f".contents.{kind.field}",
        )
    if kind.field in _PACKED:
        return _unpacked(contents, values, kind).reshape(shape)
    if kind.kind == "bytes":
        return as_objects(list(values)).reshape(shape)
    return _integers(values, kind).reshape(shape)


def _unpacked(contents: Any, values: Sequence[Any], kind: Datatype) -> npt.NDArray[Any]:
    wire = contents.SerializeToString()
    size = len(values) * kind.width
    start = len(wire) - size
    if not size or wire[:start] != _PACKED[kind.field] + varint(size):  # unknown fields behind it
        return np.array(list(values), dtype=kind.dtype)
    return np.frombuffer(wire, dtype=kind.dtype, offset=start)


def _integers(values: Sequence[int], kind: Datatype) -> npt.NDArray[Any]:
    wide = np.array(list(values), dtype=np.uint64 if kind.name == "UINT64" else np.int64)
    low, high = kind.bounds
    if kind.width < 4 and wide.size and (wide.min() < low or wide.max() > high):
        index = int(np.argmax((wide < low) | (wide > high)))
        raise InvalidTensorError(
            f"{wide[index]} is no {kind.name}; integers from {low} to {high} are",
            f".contents.{kind.field}[{index}]",
        )
    return wide.astype(kind.dtype, copy=False)


def write_contents(contents: Any, tensor: Tensor) -> None:
    """Fill a message's typed contents."""
    kind = DATATYPES[tensor.datatype]
    if not kind.field:
        raise InvalidResultError(
            f"{kind.name} has no typed contents in gRPC; ask for raw contents instead."
        )
    array = tensor.array()
    if kind.field in _PACKED:
        wire = np.ascontiguousarray(array).tobytes()
        contents.MergeFromString(b"".join((_PACKED[kind.field], varint(len(wire)), wire)))
        return
    add: Callable[[list[Any]], None] = getattr(contents, kind.field).extend
    add(array.ravel().tolist())
