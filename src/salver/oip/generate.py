"""The generate extension: plain members in, plain members out, one event per item of a stream."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from salver.oip.codecs.json import to_json
from salver.oip.datatypes import DATATYPES
from salver.oip.errors import InvalidMessageError, MalformedBodyError
from salver.oip.metadata import ModelMetadata, TensorMetadata
from salver.oip.plainarrays import read_plain
from salver.oip.rest import RestFormat
from salver.oip.types import InferRequest, InferResponse, Tensor

__all__ = ("event", "read_generate", "write_generate")


def read_generate(
    body: bytes | memoryview, metadata: ModelMetadata, rest: RestFormat
) -> InferRequest:
    """The request in a body: members named like inputs are tensors, all others parameters.

    A body with `inputs` is an ordinary inference request, which some servers take here too.
    """
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise InvalidMessageError(str(error), "$") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBodyError(f"no valid JSON: {error}") from None
    if "inputs" in members and metadata.input("inputs") is None:
        return rest.read_request(body)
    request = InferRequest([])
    for name, text in members.items():
        wanted = metadata.input(name)
        if wanted is not None:
            request.inputs.append(_tensor(wanted, text))
            continue
        value = _value(text, f"$.{name:.60}")
        if name == "id" and isinstance(value, str | int):
            request.id = str(value)
        elif name == "parameters" and isinstance(value, dict):
            request.parameters |= value
        else:
            request.parameters[name] = value
    return request


def _value(text: msgspec.Raw, path: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBodyError(f"no valid JSON: {error}", path) from None


def _tensor(wanted: TensorMetadata, text: msgspec.Raw) -> Tensor:
    """A scalar or lists; ones are put before their sizes until the rank is the model's."""
    if wanted.parameters.get("content_type") == "json":
        array = np.empty(1, dtype=object)
        array[0] = bytes(text).strip()
        return Tensor(wanted.name, "BYTES", (1,), array)
    known = not wanted.parameters.get("any_datatype")
    try:
        kind, array = read_plain(text, DATATYPES[wanted.datatype] if known else None)
    except InvalidMessageError as error:
        raise error.under(f"$.{wanted.name}") from None
    shape = (1,) * (len(wanted.shape) - array.ndim) + array.shape
    return Tensor(wanted.name, kind.name, shape, array.reshape(shape))


def write_generate(response: InferResponse) -> bytes:
    """The body of an answer, or the data of one event of a stream."""
    members: dict[str, Any] = {"model_name": response.model_name}
    if response.model_version:
        members["model_version"] = response.model_version
    if response.id:
        members["id"] = response.id
    members |= response.parameters
    for tensor in response.outputs:
        members[tensor.name] = _plain(tensor)
    return to_json(members)


def _plain(tensor: Tensor) -> Any:
    array = tensor.array().reshape(-1)
    if tensor.datatype != "BYTES":
        return array[0] if array.size == 1 else array
    read = msgspec.json.decode if tensor.parameters.get("content_type") == "json" else _text
    values = [read(element) for element in array.tolist()]
    return values[0] if len(values) == 1 else values


def _text(element: bytes) -> str:
    return element.decode(errors="replace")


def event(data: bytes) -> bytes:
    """One server-sent event with that JSON."""
    return b"data: " + data + b"\n\n"
