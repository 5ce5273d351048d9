"""`pd`: data frames, a tensor per column; what NumPy cannot hold goes as JSON, cell by cell.

`pd_dtype` in a column's parameters says what it was, so that it is that again on the other side.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from salver.oip.codecs.foreign import is_instance, is_type, loaded
from salver.oip.codecs.json import from_json, to_json
from salver.oip.codecs.numpy import writable
from salver.oip.errors import ContentError, InvalidResultError
from salver.oip.framing import as_objects
from salver.oip.types import Tensor

__all__ = ("FrameCodec", "SeriesCodec")

_DTYPES: Final = re.compile(
    r"u?int(8|16|32|64)|float(16|32|64)|bool|object|U?Int(8|16|32|64)|Float(32|64)|boolean|str|"
    r"string|category|datetime64\[(s|ms|us|ns)(, [\w/+:-]{1,40})?\]|timedelta64\[(s|ms|us|ns)\]"
)


class SeriesCodec:
    """`series`: one column."""

    content_type = "series"

    def fits(self, hint: object) -> bool:
        return is_type(hint, "pandas", "Series")

    def can_encode(self, value: object) -> bool:
        return is_instance(value, "pandas", "Series")

    def encode(self, name: str, value: Any) -> Tensor:
        return _column(name, value)

    def decode(self, tensor: Tensor) -> Any:
        return _series(tensor)


class FrameCodec:
    """`pd`: a whole message is one frame. The index is not part of it."""

    content_type = "pd"

    def fits(self, hint: object) -> bool:
        return is_type(hint, "pandas", "DataFrame")

    def can_encode(self, value: object) -> bool:
        return is_instance(value, "pandas", "DataFrame")

    def encode_all(self, value: Any) -> list[Tensor]:
        names = [str(name) for name in value.columns]
        if len(set(names)) != len(names):
            raise InvalidResultError("The columns of a DataFrame must have different names.")
        return [_column(name, value.iloc[:, at]) for at, name in enumerate(names)]

    def decode_all(self, tensors: Sequence[Tensor]) -> Any:
        rows = {tensor.name: tensor.shape[0] if tensor.shape else 1 for tensor in tensors}
        if len(set(rows.values())) > 1:
            raise ContentError(f"the columns of a frame must be equally long, got rows {rows}")
        columns = {tensor.name: _series(tensor) for tensor in tensors}
        return loaded("pandas").DataFrame(columns)


def _column(name: str, series: Any) -> Tensor:
    dtype = str(series.dtype)
    parameters = {"pd_dtype": dtype}
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biuf":
        return Tensor.of(name, series.to_numpy(), parameters)
    missing = series.isna()
    if dtype.lower().rstrip("0123456789") in ("int", "uint", "float", "boolean"):
        if not missing.any():
            return Tensor.of(name, series.to_numpy(dtype.lower().replace("ean", "")), parameters)
    elif not missing.any() and all(isinstance(cell, str) for cell in series):
        return Tensor.of(
            name, np.array(series.tolist(), object), parameters | {"content_type": "str"}
        )
    cells = [
        to_json(None if absent else _cell(cell))
        for cell, absent in zip(series.tolist(), missing, strict=True)
    ]
    kept = parameters if _DTYPES.fullmatch(dtype) else {}
    return Tensor(
        name, "BYTES", (len(cells),), as_objects(cells), kept | {"content_type": "pd_json"}
    )


def _cell(cell: Any) -> Any:
    return cell.isoformat() if hasattr(cell, "isoformat") else cell


def _series(tensor: Tensor) -> Any:
    pandas = loaded("pandas")
    array = tensor.array()
    if array.ndim > 1:
        rows = array.shape[0]
        array = array.reshape(rows) if array.size == rows else _rows(array)
    values = _cells(array, tensor) if tensor.datatype == "BYTES" else writable(array.reshape(-1))
    dtype = tensor.parameters.get("pd_dtype")
    if dtype is None:
        return pandas.Series(values)
    if not isinstance(dtype, str) or not _DTYPES.fullmatch(dtype):
        raise ContentError(f"unknown dtype {dtype!r:.60}", ".parameters.pd_dtype")
    try:
        if dtype.startswith("timedelta"):
            return pandas.Series(pandas.to_timedelta(values)).astype(dtype)
        return pandas.Series(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError, KeyError) as error:
        raise ContentError(f"the column is no {dtype}: {error!s:.200}", ".data") from None


def _rows(array: Any) -> Any:
    """Each row of a matrix as one cell."""
    cells = np.empty(array.shape[0], dtype=object)
    for index in range(len(cells)):
        cells[index] = array[index]
    return cells


def _cells(array: Any, tensor: Tensor) -> list[Any]:
    """Text if the elements say or show that they are text; JSON if they say so; else bytes."""
    content_type = tensor.parameters.get("content_type")
    elements = array.reshape(-1).tolist()
    try:
        if content_type == "pd_json":
            return [from_json(element) for element in elements]
        return [element.decode() for element in elements]
    except ValueError as error:
        if content_type in ("pd_json", "str"):
            raise ContentError(f"not all elements are {content_type}: {error}", ".data") from None
        return list(elements)
