"""The V1 protocol: `:predict` and `:explain` with rows (`instances`) or columns (`inputs`)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from salver.oip.array_slots import ArraySlot
from salver.oip.binding import Binder
from salver.oip.codecs.json import to_json
from salver.oip.errors import (
    ContentError,
    InvalidMessageError,
    InvalidResultError,
    MalformedBodyError,
)
from salver.oip.json_slots import JsonSlot
from salver.oip.nojson import why_no_json
from salver.oip.packing import plain_of
from salver.oip.tables import columns_of
from salver.spec.learnt import learnt

__all__ = ("V1Request", "bind_v1", "read_v1", "takes_batches", "write_v1")


class V1Request(msgspec.Struct):
    """Rows, or columns by input name; the answer has the same form."""

    rows: list[Any] | None = None
    columns: dict[str, Any] | None = None
    signature_name: str = ""
    parameters: dict[str, Any] = {}


@learnt
class _Body(msgspec.Struct):
    instances: list[Any] | msgspec.UnsetType = msgspec.UNSET
    inputs: list[Any] | dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    signature_name: str | None = None
    parameters: dict[str, Any] | None = None


def read_v1(body: bytes | memoryview) -> V1Request:
    """The request in a body; `{"b64": base64}` is the bytes that it stands for."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at `")
        raise InvalidMessageError(sentence, path.rstrip("`") or "$") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why, place = why_no_json(body, error)
        raise MalformedBodyError(why, place and f"${place}") from None
    request = V1Request(
        signature_name=found.signature_name or "", parameters=found.parameters or {}
    )
    if (found.instances is msgspec.UNSET) == (found.inputs is msgspec.UNSET):
        raise InvalidMessageError('expected either "instances" or "inputs"', "$")
    if isinstance(found.inputs, dict):
        # Inputs may be named like the mark itself.
        items = found.inputs.items()
        request.columns = {name: _unwrapped(value, f"$.inputs.{name}") for name, value in items}
    elif isinstance(found.inputs, list):
        request.rows = _unwrapped(found.inputs, "$.inputs")
    else:
        request.rows = _unwrapped(found.instances, "$.instances")
    return request


def _unwrapped(value: Any, path: str) -> Any:
    if isinstance(value, list) and _may_wrap(value):
        return [_unwrapped(item, f"{path}[{at}]") for at, item in enumerate(value)]
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            return _bytes(value["b64"], path)
        return {name: _unwrapped(item, f"{path}.{name}") for name, item in value.items()}
    return value


def _may_wrap(values: list[Any]) -> bool:
    """Numbers come first in lists of numbers, and need no second look."""
    return bool(values) and not isinstance(values[0], int | float)


def _bytes(text: Any, path: str) -> bytes:
    if not isinstance(text, str):
        raise ContentError(f"expected base64 in b64, got {type(text).__name__}", path)
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ContentError(f"no valid base64 in b64: {error}", path) from None


def takes_batches(binder: Binder) -> bool:
    """Whether the function takes all rows in one call: all it needs are arrays, lists or frames."""
    for argument in binder.signature.carried:
        slot = argument.slot
        if slot is None or slot.many or isinstance(slot, ArraySlot):
            continue
        if argument.required:
            return False
    return True


def bind_v1(binder: Binder, request: V1Request) -> list[dict[str, Any]]:
    """Keyword arguments for each call: one if the function takes batches, else one per row."""
    batches = takes_batches(binder)
    if request.columns is not None:
        return [binder.bind_plain(request.columns, "$.inputs")]
    rows = request.rows or []
    if not batches:
        return [binder.bind_plain(row, f"$.instances[{at}]") for at, row in enumerate(rows)]
    carried = binder.signature.carried
    named = rows and isinstance(rows[0], dict) and not (
        len(carried) == 1 and isinstance(carried[0].slot, JsonSlot)
    )  # fmt: skip
    if named or (carried and carried[0].group is not None):
        return [_bound(binder, columns_of(rows, "$.instances"), rows_are_objects=True)]
    if len(carried) != 1 and sum(argument.required for argument in carried) != 1:
        raise ContentError(
            "expected rows that are objects, as there are several inputs", "$.instances"
        )
    first = next((a for a in carried if a.required), carried[0])
    return [_bound(binder, {first.tensor: rows}, rows_are_objects=False)]


def _bound(binder: Binder, columns: dict[str, Any], *, rows_are_objects: bool) -> dict[str, Any]:
    """Rows that became columns, bound; what is wrong is named where it is in the rows."""
    try:
        return binder.bind_plain(columns, "$.instances")
    except InvalidMessageError as error:
        for name in columns:
            head, found, rest = error.path.partition(f"$.instances.{name}[")
            if found and not head and rows_are_objects:
                index, _, rest = rest.partition("]")
                raise type(error)(error.message, f"$.instances[{index}].{name}{rest}") from None
            if found and not head:
                raise type(error)(error.message, f"$.instances[{rest}") from None
        raise


def write_v1(binder: Binder, request: V1Request, results: Sequence[Any]) -> bytes:
    """The answer to a request whose calls gave these results."""
    if request.columns is not None:
        return to_json({"outputs": plain_of(binder.signature, results[0])})
    if not takes_batches(binder):
        return to_json({"predictions": [plain_of(binder.signature, result) for result in results]})
    return to_json({"predictions": _rows(plain_of(binder.signature, results[0]))})


def _rows(result: Any) -> Any:
    """Columns as rows."""
    if hasattr(result, "to_dict") and hasattr(result, "columns"):  # a frame: JSON gives its records
        return result
    columns = result if isinstance(result, Mapping) else None
    if columns is None:
        return result
    lengths = {len(c) if _is_column(c) else -1 for c in columns.values()}
    if len(lengths) != 1 or -1 in lengths:
        return result if lengths else []
    if not columns:
        raise InvalidResultError("The model returned no outputs.")
    lists = [c.tolist() if isinstance(c, np.ndarray) else list(c) for c in columns.values()]
    return [dict(zip(columns, cells, strict=True)) for cells in zip(*lists, strict=True)]


def _is_column(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)
