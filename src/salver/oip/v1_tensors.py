"""V1 bodies to tensors and back, for models that are known by their metadata only."""

from __future__ import annotations

from typing import Any

import msgspec

from salver.oip.codecs.json import to_json
from salver.oip.datatypes import datatype_named
from salver.oip.errors import InvalidMessageError, MismatchError
from salver.oip.metadata import ModelMetadata, TensorMetadata
from salver.oip.plainarrays import read_plain, told_bytes
from salver.oip.tables import columns_of
from salver.oip.types import InferRequest, InferResponse, Tensor
from salver.oip.v1 import V1Request

__all__ = ("to_infer_request", "to_v1_answer")


def to_infer_request(request: V1Request, metadata: ModelMetadata) -> InferRequest:
    """The rows or columns as the tensors that the metadata name."""
    path = "$.inputs" if request.columns is not None else "$.instances"
    columns = request.columns if request.columns is not None else _columns(request, metadata)
    inputs = []
    for name, values in columns.items():
        wanted = metadata.input(name)
        if wanted is None:
            known = ", ".join(tensor.name for tensor in metadata.inputs)
            raise MismatchError(f"unknown input {name!r:.60}; the inputs are {known}", path)
        inputs.append(_tensor(wanted, values, path))
    return InferRequest(inputs, parameters=request.parameters)


def _columns(request: V1Request, metadata: ModelMetadata) -> dict[str, Any]:
    rows = request.rows or []
    if rows and isinstance(rows[0], dict):
        return columns_of(rows, "$.instances")
    if len(metadata.inputs) != 1:
        raise MismatchError("expected rows that are objects, as there are several inputs",
                            "$.instances")  # fmt: skip
    return {metadata.inputs[0].name: rows}


def _tensor(wanted: TensorMetadata, values: Any, path: str) -> Tensor:
    values, coded = told_bytes(values, text=False)
    kind = datatype_named(wanted.datatype)
    try:
        _, array = read_plain(msgspec.json.encode(values), kind, coded=coded)
    except InvalidMessageError as error:
        raise error.under(path) from None
    return Tensor(wanted.name, wanted.datatype, array.shape, array)


def to_v1_answer(request: V1Request, response: InferResponse) -> bytes:
    """The body that answers the request."""
    columns = {tensor.name: _listed(tensor) for tensor in response.outputs}
    one = next(iter(columns.values())) if len(columns) == 1 else None
    if request.columns is not None:
        return to_json({"outputs": one if one is not None else columns})
    if one is not None:
        return to_json({"predictions": one})
    rows = zip(*columns.values(), strict=False)
    return to_json({"predictions": [dict(zip(columns, row, strict=True)) for row in rows]})


def _listed(tensor: Tensor) -> list[Any]:
    array = tensor.array()
    if tensor.datatype == "BYTES":
        array = array.copy()
        for at, element in enumerate(array.flat):
            array.flat[at] = element.decode(errors="replace")
    listed: list[Any] = array.reshape(-1).tolist() if array.ndim == 0 else array.tolist()
    return listed
