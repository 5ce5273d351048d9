"""Frames and dicts of arrays in plain JSON: rows, or columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from salver.oip.datatypes import DATATYPES
from salver.oip.errors import ContentError, InvalidMessageError
from salver.oip.framing import as_objects
from salver.oip.plainarrays import read_plain, told_bytes
from salver.oip.types import Tensor

__all__ = ("column_of", "columns_of")


def column_of(name: str, cells: Any, anything: bool, path: str) -> Tensor:
    """Numbers, booleans or text; else, where it can be anything, each cell by itself."""
    cells = cells if isinstance(cells, list) else [cells]
    cells, coded = told_bytes(cells, text=False)
    try:
        wanted = DATATYPES["BYTES"] if coded else None
        kind, array = read_plain(msgspec.json.encode(cells), wanted, coded=coded)
    except InvalidMessageError as error:
        if not anything:
            raise error.under(path) from None
        texts = as_objects([msgspec.json.encode(cell) for cell in cells])
        return Tensor(name, "BYTES", texts.shape, texts, {"content_type": "pd_json"})
    parameters = {"dtype": "str"} if kind.kind == "bytes" and not coded else {}
    return Tensor(name, kind.name, array.shape, array, parameters)


def columns_of(rows: Iterable[Any], path: str) -> dict[str, list[Any]]:
    """Rows (objects of the same members, or equally long lists) as columns."""
    columns: dict[str, list[Any]] = {}
    for index, row in enumerate(rows):
        cells = (
            row
            if isinstance(row, dict)
            else dict(enumerate(row))
            if isinstance(row, list)
            else None
        )
        if cells is None or (index and len(cells) != len(columns)):
            raise ContentError("expected rows with the same members each", f"{path}[{index}]")
        for name, cell in cells.items():
            column = columns.setdefault(str(name), [])
            if len(column) != index:
                raise ContentError("expected rows with the same members each", f"{path}[{index}]")
            column.append(cell)
    return columns
