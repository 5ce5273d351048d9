"""The classification extension: the N highest values of an output, with their labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from salver.oip.errors import InvalidMessageError
from salver.oip.framing import as_objects
from salver.oip.types import InferResponse, RequestedOutput, Tensor

__all__ = ("classified", "top")


def top(tensor: Tensor, count: int, labels: Sequence[str] = ()) -> Tensor:
    """`value:index[:label]` of the highest values, in order; one row for each of the batch."""
    values = tensor.array()
    rows = values.reshape(1, -1) if values.ndim < 2 else values.reshape(values.shape[0], -1)
    kept = min(count, rows.shape[1])
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :kept]
    elements = [
        _entry(row[index], int(index), labels)
        for row, indexes in zip(rows, best, strict=True)
        for index in indexes
    ]
    shape = (kept,) if values.ndim < 2 else (rows.shape[0], kept)
    return Tensor(tensor.name, "BYTES", shape, as_objects(elements).reshape(shape))


def _entry(value: object, index: int, labels: Sequence[str]) -> bytes:
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{value:f}:{index}{label}".encode()


def classified(
    response: InferResponse, wanted: Sequence[RequestedOutput], labels: Sequence[str] = ()
) -> InferResponse:
    """The response with every output that was asked for with `classification` in that form."""
    asked = {output.name: output.parameters.get("classification") for output in wanted}
    for at, tensor in enumerate(response.outputs):
        count = asked.get(tensor.name)
        if count is None:
            continue
        if type(count) is not int or count < 1 or tensor.datatype == "BYTES":
            raise InvalidMessageError(
                f"classification of {tensor.name!r} needs numbers and a count of 1 or more, "
                f"got {count!r:.20} of {tensor.datatype}",
                f"$.outputs[{[one.name for one in wanted].index(tensor.name)}].parameters"
                ".classification",
            )
        response.outputs[at] = top(tensor, count, labels)
    return response
