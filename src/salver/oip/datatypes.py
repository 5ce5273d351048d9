"""The fourteen datatypes, and the checks of datatype, shape and size that cost no memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from salver.oip.errors import InvalidResultError, InvalidTensorError

__all__ = (
    "BYTES",
    "DATATYPES",
    "HELD",
    "MAX_DIMS",
    "Datatype",
    "count_of",
    "datatype_named",
    "name_of",
)

MAX_DIMS: Final = 32  # what every NumPy release can hold
_MAX_BYTES: Final = 2**63 - 1


class Datatype(msgspec.Struct, frozen=True):
    """One datatype: its name, bytes per element (0: variable), NumPy form and typed gRPC field."""

    name: str
    width: int
    dtype: np.dtype[Any]
    kind: str  # "bool", "uint", "int", "float" or "bytes"
    field: str  # of InferTensorContents; empty: raw contents only

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and greatest value of an integer datatype."""
        bits = self.width * 8
        if self.kind == "uint":
            return 0, 2**bits - 1
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def _table() -> dict[str, Datatype]:
    rows = (
        ("BOOL", 1, "?", "bool", "bool_contents"),
        ("UINT8", 1, "u1", "uint", "uint_contents"),
        ("UINT16", 2, "<u2", "uint", "uint_contents"),
        ("UINT32", 4, "<u4", "uint", "uint_contents"),
        ("UINT64", 8, "<u8", "uint", "uint64_contents"),
        ("INT8", 1, "i1", "int", "int_contents"),
        ("INT16", 2, "<i2", "int", "int_contents"),
        ("INT32", 4, "<i4", "int", "int_contents"),
        ("INT64", 8, "<i8", "int", "int64_contents"),
        ("FP16", 2, "<f2", "float", ""),
        ("BF16", 2, "<u2", "float", ""),  # NumPy has none: the bits, see bfloat16.py
        ("FP32", 4, "<f4", "float", "fp32_contents"),
        ("FP64", 8, "<f8", "float", "fp64_contents"),
        ("BYTES", 0, "O", "bytes", "bytes_contents"),
    )
    return {row[0]: Datatype(row[0], row[1], np.dtype(row[2]), *row[3:]) for row in rows}


DATATYPES: Final[Mapping[str, Datatype]] = MappingProxyType(_table())
BYTES: Final = DATATYPES["BYTES"]
# Arrays of these dtypes are tensors as they are; others are changed first, or are none.
HELD: Final[Mapping[np.dtype[Any], str]] = MappingProxyType(
    {d.dtype: d.name for d in DATATYPES.values() if d.name not in ("BF16", "BYTES")}
)


def datatype_named(name: str) -> Datatype:
    """The datatype of that name; refuses any other, naming those there are."""
    found = DATATYPES.get(name)
    if found is None:
        known = ", ".join(DATATYPES)
        raise InvalidTensorError(
            f"unknown datatype {name!r:.40}; expected one of {known}", ".datatype"
        )
    return found


def name_of(dtype: np.dtype[Any]) -> str:
    """The datatype that holds arrays of that dtype."""
    name = HELD.get(dtype) or HELD.get(dtype.newbyteorder("<"))
    if name is not None:
        return name
    if dtype.kind in "OSUT":
        return "BYTES"
    if dtype.name != "bfloat16":
        raise InvalidResultError(
            f"NumPy dtype {dtype} has no datatype in the protocol; convert it to one of "
            f"{', '.join(DATATYPES)} first."
        )
    return "BF16"


def count_of(shape: Sequence[int], datatype: Datatype) -> int:
    """How many elements a shape holds; refuses what no array can have."""
    if len(shape) > MAX_DIMS:
        raise InvalidTensorError(
            f"{len(shape)} dimensions are given, at most {MAX_DIMS} are possible", ".shape"
        )
    for index, size in enumerate(shape):
        if type(size) is not int:
            raise InvalidTensorError(f"expected an integer, got {size!r}", f".shape[{index}]")
        if size < 0:
            raise InvalidTensorError(
                f"a size of {size} is impossible; sizes are 0 or more", f".shape[{index}]"
            )
    # Zero-sized arrays too must have a product of the other sizes that an array can address.
    extent = math.prod(size or 1 for size in shape) if 0 in shape else math.prod(shape)
    if extent * (datatype.width or 8) > _MAX_BYTES:
        raise InvalidTensorError(f"the shape {list(shape)} is larger than any memory", ".shape")
    return 0 if 0 in shape else extent


def check_size(size: int, count: int, datatype: Datatype, path: str) -> None:
    """Refuse raw contents whose byte count is not what datatype and shape make."""
    if datatype.width:
        if size != count * datatype.width:
            raise InvalidTensorError(
                f"{size} bytes are given, but {count} elements of {datatype.name} "
                f"take {count * datatype.width}",
                path,
            )
    elif size < 4 * count:
        raise InvalidTensorError(
            f"{size} bytes are given, but {count} elements of BYTES take at least {4 * count}",
            path,
        )


def as_datatype(array: npt.NDArray[Any], datatype: Datatype) -> npt.NDArray[Any]:
    """The array in the form in which the datatype is held, without a copy where it already is."""
    if datatype.name == "BF16":
        return array.view(np.dtype("<u2"))
    return array.astype(datatype.dtype, copy=False)
