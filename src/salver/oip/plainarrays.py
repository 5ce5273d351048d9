"""Arrays in plain JSON: nested lists that say nothing of datatype and shape but what they are."""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
import numpy.typing as npt
import simdjson

from salver.oip import simdata
from salver.oip.datatypes import DATATYPES, MAX_DIMS, Datatype
from salver.oip.errors import ContentError, InvalidMessageError
from salver.oip.jsondata import read_data

__all__ = ("read_plain",)

_LISTS: Final = (list, simdjson.Array)


def read_plain(
    text: bytes | msgspec.Raw, kind: Datatype | None
) -> tuple[Datatype, npt.NDArray[Any]]:
    """The array that a JSON text spells, and its datatype; ragged and mixed lists are refused.

    Without a datatype numbers are FP32, as metadata say of such arrays: 1 is no other than 1.5.
    """
    content = bytes(text)
    value = _parsed(content)
    scalar = not isinstance(value, _LISTS)
    if scalar:
        content, value = b"[" + content + b"]", [value]
    shape, leaf = _shape_of(value)
    kind = kind or _kind_of(leaf)
    count = math.prod(shape)
    try:
        if isinstance(value, list):
            array = read_data(content, kind, shape, count)
        else:
            regular = simdata.lists_in(content) == simdata.brackets(value, shape)
            read = simdata.read_array if regular else simdata.read_exactly
            array = read(value, kind, shape, count)
    except InvalidMessageError as error:
        path = error.path.removeprefix(".data")
        raise ContentError(error.message, path.removeprefix("[0]") if scalar else path) from None
    return kind, array.reshape(()) if scalar else array


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


def _kind_of(leaf: Any) -> Datatype:
    if isinstance(leaf, bool):
        return DATATYPES["BOOL"]
    if isinstance(leaf, str):
        return DATATYPES["BYTES"]
    if leaf is None or isinstance(leaf, int | float):
        return DATATYPES["FP32"]
    raise ContentError("expected nested lists of numbers, booleans or strings")
