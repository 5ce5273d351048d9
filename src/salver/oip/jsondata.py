"""The `data` of one tensor in JSON: flat or nested, every element checked, paths in errors.

This is the exact reader: its errors name the element. `simdata` reads the same, faster, where all
is well, and comes back here where it is not. `jsontext` is the writer.

JSON has no NaN and no infinity. Read as such are null (NaN) and the strings "NaN", "Infinity" and
"-Infinity"; written are null and "Infinity", "-Infinity", so nothing is lost on the way.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import struct
import types
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from salver.oip import bfloat16
from salver.oip.datatypes import DATATYPES, Datatype
from salver.oip.errors import InvalidTensorError, MalformedBodyError
from salver.oip.framing import as_objects
from salver.oip.nojson import why_no_json

__all__ = ("from_base64", "narrowed", "read_data")

Text = bytes | memoryview | msgspec.Raw

_NESTED: Final = re.compile(rb"\s*\[\s*\[")
_AT: Final = re.compile(r"^(.*?)(?: - at `\$(.*)`)?$", re.DOTALL)
_INT64: Final = 2**63 - 1
_FEW: Final = 64  # elements
_CODES: Final[dict[str, str]] = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b",
    "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_FLOAT: Final = 'a number, null, "NaN", "Infinity" or "-Infinity"'
# What is read is more than what is promised: 3.0 is an integer.
_UNIONS: Final = (("`int | float`", "an integer"), ("`float | str | null`", _FLOAT))


def read_data(text: Text, kind: Datatype, shape: Sequence[int], count: int) -> npt.NDArray[Any]:
    """The array that a tensor's `data` spells."""
    if 0 < count <= _FEW and kind.name in _CODES:
        array = _read_few(text, kind, shape, count)
        if array is not None:
            return array
    depth = len(shape) if _NESTED.match(text) else 1
    values = _elements(text, kind, max(depth, 1))
    if depth <= 1:
        if len(values) != count:
            raise InvalidTensorError(
                f"{len(values)} elements are given, but the shape {list(shape)} holds {count}",
                ".data",
            )
    else:
        check_nesting(values, shape)
        values = _flattened(values, depth)
    return _READ[kind.kind](values, kind).reshape(shape)


def _read_few(
    text: Text, kind: Datatype, shape: Sequence[int], count: int
) -> npt.NDArray[Any] | None:
    """Some plain numbers in a flat list, without NumPy's own conversions, which take as long as
    all else; None where it is not as plain, or not right."""
    decode, pack = _few(kind.name, count)
    try:
        return np.ndarray(shape, kind.dtype, bytearray(pack(*decode(text))))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, struct.error, OverflowError):
        return None


@lru_cache(maxsize=1024)
def _few(datatype: str, count: int) -> tuple[Callable[[Text], list[Any]], Callable[..., bytes]]:
    packing = struct.Struct(f"<{count}{_CODES[datatype]}")
    return _decoders(datatype, 1)[0].decode, packing.pack


def check_nesting(values: Sequence[Any], shape: Sequence[int], path: str = ".data") -> None:
    """Refuse nested lists whose lengths are not those of the shape, at any level."""
    if len(values) != shape[0]:
        raise InvalidTensorError(
            f"a list of {len(values)} where the shape {list(shape)} wants {shape[0]}", path
        )
    if len(shape) > 1:
        for index, row in enumerate(values):
            check_nesting(row, shape[1:], f"{path}[{index}]")


def _flattened(values: list[Any], depth: int) -> list[Any]:
    for _ in range(depth - 1):
        values = [value for row in values for value in row]
    return values


def _elements(text: Text, kind: Datatype, depth: int) -> list[Any]:
    error: msgspec.ValidationError | None = None
    for decoder in _decoders(kind.name, depth):
        try:
            return decoder.decode(text)  # type: ignore[no-any-return]
        except msgspec.ValidationError as refused:
            error = refused
        except (msgspec.DecodeError, UnicodeDecodeError) as broken:
            why, path = why_no_json(text, broken)
            raise MalformedBodyError(why, f".data{path}") from None
        except RecursionError:
            raise MalformedBodyError("nested too deeply", ".data") from None
    raise _refusal(str(error), kind)


@lru_cache(maxsize=256)
def _decoders(datatype: str, depth: int) -> tuple[msgspec.json.Decoder[Any], ...]:
    """For these elements at this nesting; the strictest and fastest first."""
    kinds: list[Any] = _element_types(DATATYPES[datatype])
    for _ in range(depth):
        kinds = [types.GenericAlias(list, (element,)) for element in kinds]
    return tuple(msgspec.json.Decoder(kind) for kind in kinds)


def _element_types(kind: Datatype) -> list[Any]:
    if kind.kind == "float":
        return [float, float | None | Literal["NaN", "Infinity", "-Infinity"]]
    if kind.kind == "bool":
        return [bool]
    if kind.kind == "bytes":
        return [str]
    low, high = kind.bounds
    limits = msgspec.Meta(ge=low, le=high) if high <= _INT64 else msgspec.Meta(ge=low)
    return [Annotated[int, limits], int | float]  # 3.0 is an integer, 3.5 is not: see _integers


def _refusal(message: str, kind: Datatype) -> InvalidTensorError:
    """msgspec's sentence, in the words of the protocol."""
    found = _AT.match(message)
    assert found is not None  # noqa: S101 - the pattern matches every text
    sentence, path = found[1], found[2] or ""
    if "enum value" in sentence:
        sentence = f"Expected {_FLOAT}, got another string"
    for union, words in _UNIONS:
        sentence = sentence.replace(union, words)
    return InvalidTensorError(f"{sentence} (datatype {kind.name})", f".data{path}")


def _read_bools(values: list[Any], kind: Datatype) -> npt.NDArray[Any]:
    return np.array(values, dtype=kind.dtype)


def _read_bytes(values: list[Any], _: Datatype) -> npt.NDArray[Any]:
    return as_objects([value.encode() for value in values])


def _read_integers(values: list[Any], kind: Datatype) -> npt.NDArray[Any]:
    low, high = kind.bounds
    try:
        exact = [_integer(value) for value in values] if float in map(type, values) else values
        if not exact or (min(exact) >= low and max(exact) <= high):
            return np.array(exact, dtype=kind.dtype)
    except ValueError:
        pass
    for index, value in enumerate(values):
        if value != value // 1 or not low <= value <= high:
            raise InvalidTensorError(
                f"{value!r} is no {kind.name}; integers from {low} to {high} are",
                f".data[{index}]",
            )
    raise InvalidTensorError(f"some element is no {kind.name}", ".data")


def _integer(value: float) -> int:
    if not float(value).is_integer():
        raise ValueError
    return int(value)


def _read_floats(values: list[Any], kind: Datatype) -> npt.NDArray[Any]:
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array([_float(value) for value in values], dtype=np.float64)
    return narrowed(array, kind)


def _float(value: float | str | None) -> float:
    return math.nan if value is None else float(value)


def narrowed(values: npt.NDArray[Any], kind: Datatype) -> npt.NDArray[Any]:
    """Doubles as the datatype; refuses a finite value that only infinity could stand for."""
    if kind.name == "FP64":
        return values
    if kind.name == "BF16":
        bits = bfloat16.narrow(values)
        overflows = np.isinf(bfloat16.widen(bits)) & np.isfinite(values)
        if not overflows.any():
            return bits
    else:
        try:
            with np.errstate(over="raise"):
                return values.astype(kind.dtype)
        except FloatingPointError:
            with np.errstate(over="ignore"):
                overflows = np.isinf(values.astype(kind.dtype)) & np.isfinite(values)
    index = int(np.argmax(overflows))
    raise InvalidTensorError(
        f"{float(values.flat[index])!r} is too large for {kind.name}", f".data[{index}]"
    )


_READ: Final[dict[str, Callable[[list[Any], Datatype], npt.NDArray[Any]]]] = {
    "bool": _read_bools,
    "uint": _read_integers,
    "int": _read_integers,
    "float": _read_floats,
    "bytes": _read_bytes,
}


def from_base64(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Elements of a BYTES tensor that says `encoding: base64`, as the bytes they stand for."""
    elements: list[bytes] = []
    for index, element in enumerate(array.ravel().tolist()):
        try:
            elements.append(base64.b64decode(element, validate=True))
        except binascii.Error as error:
            raise InvalidTensorError(f"no valid base64: {error}", f".data[{index}]") from None
    return as_objects(elements).reshape(array.shape)
