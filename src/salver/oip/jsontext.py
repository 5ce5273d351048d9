"""Writes the `data` of a tensor as JSON: flat, numbers in their shortest form that reads back."""

from __future__ import annotations

import base64
import math
from types import ModuleType
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from salver.oip import bfloat16

__all__ = ("write_bytes", "write_numbers")

try:
    import orjson
except ImportError:  # three times slower on large arrays; nothing else differs
    _FAST: ModuleType | None = None
else:
    _FAST = orjson

_SMALL: Final = 32


def write_numbers(array: npt.NDArray[Any], datatype: str) -> bytes:
    """A flat JSON list of the array's numbers or booleans."""
    if datatype == "BF16":
        array = bfloat16.widen(array)
    flat = np.ascontiguousarray(array).reshape(-1)
    if _FAST is not None:
        text: bytes = _FAST.dumps(flat, option=_FAST.OPT_SERIALIZE_NUMPY)
    else:
        text = msgspec.json.encode(shortest(flat).tolist())
    if flat.dtype.kind == "f" and b"n" in text:  # both write what is not finite as null
        text = msgspec.json.encode([_spelled(value) for value in shortest(flat).tolist()])
    return text


def write_bytes(array: npt.NDArray[Any]) -> tuple[bytes, bool]:
    """A flat JSON list of strings, and whether they had to be base64 because some is no UTF-8."""
    elements = array.ravel().tolist()
    try:
        return msgspec.json.encode([element.decode() for element in elements]), False
    except UnicodeDecodeError:
        coded = [base64.b64encode(element).decode() for element in elements]
        return msgspec.json.encode(coded), True


def _spelled(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return None
    return "Infinity" if value > 0 else "-Infinity"


def shortest(flat: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Doubles whose shortest decimals read back as these FP32 or FP16 values; others unchanged.

    0.1 as FP32 is 0.10000000149011612 as a double; the double 0.1 is as good and half as long.
    """
    if flat.dtype.kind != "f" or flat.dtype.itemsize == 8:
        return flat
    if flat.size <= _SMALL:
        return np.array([float(str(value)) for value in flat], dtype=np.float64)
    with np.errstate(invalid="ignore"):  # a NaN that signals
        values = flat.astype(np.float64)
    result = values.copy()
    size = np.abs(values)
    left = np.isfinite(values) & (size >= 1e-13) & (size < 1e15)
    for digits in (4, 6, 7, 8, 9):
        chosen = np.flatnonzero(left)
        if not chosen.size:
            break
        exact = values[chosen]
        # Integer / power of ten, both exact: the double nearest to that decimal.
        places = digits - 1 - np.floor(np.log10(np.abs(exact))).astype(np.int64)
        up = 10.0 ** np.maximum(places, 0)
        down = 10.0 ** np.maximum(-places, 0)
        rounded = np.rint(exact * up / down) * down / up
        fits = rounded.astype(flat.dtype) == flat[chosen]
        result[chosen[fits]] = rounded[fits]
        left[chosen[fits]] = False
    return result
