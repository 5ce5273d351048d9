"""FastAPI's encoder, taught what results of plain handlers may hold: arrays, tables, errors."""

from __future__ import annotations

from typing import Any

from salver.replica.jsonable import jsonable

__all__ = ("teach_fastapi",)


def teach_fastapi() -> None:
    """Routes may return what no annotation speaks of. Again: nothing happens."""
    from fastapi.encoders import encoders_by_class_tuples

    encoders_by_class_tuples[jsonable] = (_ArrayOrTable, Exception)


class _Kind(type):
    """Knows its instances by what they can do: their libraries need not be imported for it."""

    def __instancecheck__(cls, value: Any) -> bool:
        kind = type(value)
        is_table = kind.__module__.partition(".")[0] == "pandas"
        return is_table or callable(getattr(kind, "tolist", None))


class _ArrayOrTable(metaclass=_Kind):
    """Of numpy, torch or pandas, and numpy's scalars."""
