"""Arrays in plain JSON: nested lists that say nothing of datatype and shape but what they are."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import simdjson

from salver.oip import bfloat16, simdata
from salver.oip.datatypes import DATATYPES, MAX_DIMS, Datatype
from salver.oip.errors import ContentError, InvalidMessageError, InvalidResultError
from salver.oip.jsondata import from_base64, read_data
from salver.oip.types import Tensor

__all__ = ("completed", "read_plain", "told_bytes", "write_plain")

_LISTS: Final = (list, simdjson.Array)
_NO_INTEGERS: Final = (b".", b"e", b"E", b"n", b'"')  # what fractions, null and strings have


def read_plain(
    text: bytes | msgspec.Raw,
    kind: Datatype | None,
    *,
    floats: Datatype = DATATYPES["FP64"],
    coded: bool = False,
) -> tuple[Datatype, npt.NDArray[Any]]:
    """The array that a JSON text spells, and its datatype; ragged and mixed lists are refused.

    Without a datatype integers are INT64, or UINT64 where one of them needs it, and other numbers
    `floats`. Strings are text, or base64 where elements are `coded`.
    """
    content = bytes(text)
    value = _parsed(content)
    scalar = not isinstance(value, _LISTS)
    if scalar:
        content, value = b"[" + content + b"]", [value]
    shape, leaf = _shape_of(value)
    kinds = (kind,) if kind is not None else _kinds_of(leaf, content, floats)
    try:
        found, array = _first_of(kinds, content, value, shape)
        if coded and found.kind == "bytes":
            array = from_base64(array)
    except InvalidMessageError as error:
        path = error.path.removeprefix(".data")
        raise ContentError(error.message, path.removeprefix("[0]") if scalar else path) from None
    return found, array.reshape(()) if scalar else array


def _first_of(
    kinds: Sequence[Datatype], content: bytes, value: Any, shape: tuple[int, ...]
) -> tuple[Datatype, npt.NDArray[Any]]:
    """The array in the first of the datatypes that can say it."""
    refused: InvalidMessageError | None = None
    for kind in kinds:
        try:
            return kind, _read(content, value, kind, shape)
        except InvalidMessageError as error:
            refused = refused or error
    assert refused is not None  # noqa: S101 - there is a datatype
    raise refused


def _read(content: bytes, value: Any, kind: Datatype, shape: tuple[int, ...]) -> Any:
    count = math.prod(shape)
    if isinstance(value, list):
        return read_data(content, kind, shape, count)
    regular = simdata.lists_in(content) == simdata.brackets(value, shape)
    read = simdata.read_array if regular else simdata.read_exactly
    return read(value, kind, shape, count)


def told_bytes(value: Any, *, text: bool) -> tuple[Any, bool]:
    """Nested lists, some of whose elements came as bytes, for which V1 has a form: all as `text` or
    all as bytes, which JSON writes as base64; and whether they are bytes now."""
    leaf = value
    while isinstance(leaf, list) and leaf:
        leaf = leaf[0]
    if not isinstance(leaf, str | bytes) or not _has_bytes(value):
        return value, False
    return _each(_as_text if text else _as_bytes, value), not text


def _has_bytes(value: Any) -> bool:
    return any(map(_has_bytes, value)) if isinstance(value, list) else isinstance(value, bytes)


def _each(change: Callable[[Any], Any], value: Any, path: str = "") -> Any:
    if isinstance(value, list):
        return [_each(change, item, f"{path}[{at}]") for at, item in enumerate(value)]
    try:
        return change(value)
    except UnicodeDecodeError as error:
        raise ContentError(f"the bytes are no text in UTF-8: {error}", path) from None


def _as_text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _as_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def completed(shape: tuple[int, ...], wanted: Sequence[int]) -> tuple[int, ...]:
    """An empty list says nothing of the sizes within it: they are those that are wanted."""
    if shape[-1:] != (0,) or len(shape) >= len(wanted):
        return shape
    return shape + tuple(max(size, 0) for size in wanted[len(shape) :])


def write_plain(tensor: Tensor, *, coded: bool | None = None) -> Any:
    """The contents of a tensor as something that `to_json` writes.

    Elements of BYTES are text if the tensor says that they are, else base64 if they are `coded`;
    without a word on that, what is no UTF-8 is `{"b64": base64}`, as in TensorFlow Serving.
    """
    array = tensor.array()
    if tensor.datatype == "BF16":
        return bfloat16.widen(array)
    if tensor.datatype != "BYTES":
        return array
    write: Callable[[bytes], Any] = _text_or_b64 if coded is None else _base64 if coded else _text
    content_type = tensor.parameters.get("content_type")
    if content_type == "json":
        write = msgspec.json.decode
    elif content_type == "str" or "dtype" in tensor.parameters:
        write = _text
    written = np.empty(array.size, dtype=object)
    for at, element in enumerate(array.ravel().tolist()):
        written[at] = write(element)
    return written.reshape(array.shape).tolist()


def _text(element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise InvalidResultError(f"An element that is to be text is no UTF-8: {error}.") from None


def _base64(element: bytes) -> str:
    return base64.b64encode(element).decode()


def _text_or_b64(element: bytes) -> Any:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {"b64": _base64(element)}


def _parsed(content: bytes) -> Any:
    """Proxies of a large text, values of a small one."""
    if len(content) > simdata.LARGE:
        try:
            return simdjson.Parser().parse(content)
        except (ValueError, RuntimeError, UnicodeDecodeError):
            pass  # the exact reader knows more numbers, and says what is wrong
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContentError(f"no valid JSON: {error}") from None


def _shape_of(value: Any) -> tuple[tuple[int, ...], Any]:
    """The shape that the first elements show; the reader checks all others against it."""
    shape: list[int] = []
    while isinstance(value, _LISTS):
        if len(shape) == MAX_DIMS:
            raise ContentError(f"more than {MAX_DIMS} dimensions")
        shape.append(len(value))
        if not len(value):
            return tuple(shape), None
        value = value[0]
    return tuple(shape), value


def _kinds_of(leaf: Any, content: bytes, floats: Datatype) -> tuple[Datatype, ...]:
    """What the first element and the text show; the first one that can hold all elements is it."""
    if isinstance(leaf, bool):
        return (DATATYPES["BOOL"],)
    if leaf in ("Infinity", "-Infinity"):
        return (floats, DATATYPES["BYTES"])
    if isinstance(leaf, str):
        return (DATATYPES["BYTES"], floats) if leaf == "NaN" else (DATATYPES["BYTES"],)
    if isinstance(leaf, int) and not any(mark in content for mark in _NO_INTEGERS):
        return (DATATYPES["INT64"], DATATYPES["UINT64"])
    if leaf is None or isinstance(leaf, int | float):
        return (floats,)
    raise ContentError("expected nested lists of numbers, booleans or strings")
