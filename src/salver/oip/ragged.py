"""Lists of lists that are not equally long, which no tensor holds: BYTES, each row of them JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from salver.oip.codecs.json import parse_as, to_json
from salver.oip.errors import InvalidMessageError, MismatchError
from salver.oip.framing import as_objects
from salver.oip.types import Tensor

__all__ = ("read_rows", "write_rows")


def write_rows(name: str, rows: Iterable[Any]) -> Tensor:
    """The tensor of rows that are as JSON has them."""
    elements = as_objects([to_json(row) for row in rows])
    return Tensor(name, "BYTES", elements.shape, elements, {"content_type": "json"})


def read_rows(tensor: Tensor, read: Callable[[Any], Any]) -> list[Any]:
    """The rows, each of which is read from what JSON says."""
    if len(tensor.shape) != 1:
        raise MismatchError(
            f"expected [-1], the JSON of each row, got {list(tensor.shape)}", ".shape"
        )
    rows = []
    for index, element in enumerate(tensor.array().tolist()):
        try:
            rows.append(read(parse_as(element, Any)))
        except InvalidMessageError as error:
            raise error.under(f".data[{index}]") from None
    return rows
