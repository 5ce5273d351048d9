"""The generate extension: plain members in, plain members out, one event per item of a stream."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from salver.oip.codecs.json import to_json
from salver.oip.datatypes import DATATYPES
from salver.oip.errors import InvalidMessageError, MalformedBodyError
from salver.oip.framing import as_objects
from salver.oip.metadata import ModelMetadata, TensorMetadata
from salver.oip.nojson import why_no_json
from salver.oip.plainarrays import completed, read_plain, write_plain
from salver.oip.rest import RestFormat
from salver.oip.tables import column_of, columns_of
from salver.oip.types import InferRequest, InferResponse, Tensor

__all__ = ("event", "named", "read_generate", "write_generate")

_INPUT: Final = re.compile(r"\$\.inputs\[(?P<at>\d+)\](?P<rest>.*)", re.DOTALL)


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
        why, path = why_no_json(body, error)
        raise MalformedBodyError(why, path and f"${path}") from None
    if "inputs" in members and metadata.input("inputs") is None:
        return rest.read_request(body)
    request = InferRequest([])
    for name, text in members.items():
        wanted = metadata.input(name)
        if wanted is not None and wanted.optional and bytes(text).strip() == b"null":
            continue
        if wanted is not None:
            several = wanted.parameters.get("any_tensors")
            request.inputs += _columns(wanted, text) if several else [_tensor(wanted, text)]
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
    told = wanted.parameters
    if told.get("content_type") == "json":
        return _json(wanted, text)
    kind = None if told.get("any_datatype") else DATATYPES[wanted.datatype]
    floats = DATATYPES["FP32" if told.get("content_type") == "torch" else "FP64"]
    try:
        kind, array = read_plain(text, kind, floats=floats, coded=_is_coded(wanted))
    except InvalidMessageError as error:
        if told.get("content_type") == "number" and len(wanted.shape) > 1:
            return _json(wanted, text)  # which may be ragged; and else the model says what is wrong
        raise error.under(f"$.{wanted.name}") from None
    shape = array.shape
    if not told.get("any_shape"):
        shape = completed(shape, wanted.shape)
        shape = (1,) * (len(wanted.shape) - len(shape)) + shape
    text_array = kind.kind == "bytes" and bool(told.get("any_datatype"))
    parameters = {"dtype": "str"} if text_array else {}
    return Tensor(wanted.name, kind.name, shape, array.reshape(shape), parameters)


def _columns(wanted: TensorMetadata, text: msgspec.Raw) -> list[Tensor]:
    """Rows or columns of a frame, or the arrays of a dict."""
    path = f"$.{wanted.name}"
    table = _value(text, path)
    columns = columns_of(table, path) if isinstance(table, list) else table
    if not isinstance(columns, dict):
        raise InvalidMessageError("expected rows or columns", path)
    anything = wanted.parameters.get("content_type") == "pd"
    return [column_of(name, cells, anything, f"{path}.{name}") for name, cells in columns.items()]


def _is_coded(wanted: TensorMetadata) -> bool:
    """Whether elements are base64, as bytes are in plain JSON."""
    told = wanted.parameters
    content_type = told.get("content_type")
    plain_array = content_type == "np" and "dtype" not in told and not told.get("any_datatype")
    return content_type in ("bytes", "image") or plain_array


def _json(wanted: TensorMetadata, text: msgspec.Raw) -> Tensor:
    """One value, or one for each item of a list."""
    items: list[Any] = [text]
    if wanted.shape[0] == -1:
        try:
            items = msgspec.json.decode(text, type=list[msgspec.Raw])
        except msgspec.ValidationError as error:
            raise InvalidMessageError(str(error), f"$.{wanted.name}") from None
    elements = as_objects([bytes(item).strip() for item in items])
    return Tensor(wanted.name, "BYTES", elements.shape, elements)


def named(
    error: InvalidMessageError, request: InferRequest, metadata: ModelMetadata
) -> InvalidMessageError:
    """The same error of an input, where the input is in the body."""
    found = _INPUT.match(error.path)
    if found is None or int(found["at"]) >= len(request.inputs):
        return error
    name, rest = request.inputs[int(found["at"])].name, found["rest"]
    wanted = metadata.input(name)
    one = wanted is not None and wanted.shape == [1]
    rest = rest.removeprefix(".data").removeprefix("[0]" if one else "")
    return type(error)(error.message, f"$.{name}{rest}")


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
    coded = True if tensor.parameters.get("content_type") in ("bytes", "image") else None
    flat = Tensor(
        tensor.name, tensor.datatype, (tensor.count,), tensor.array().reshape(-1), tensor.parameters
    )
    values = write_plain(flat, coded=coded)
    return values[0] if len(values) == 1 else values


def event(data: bytes) -> bytes:
    """One server-sent event with that JSON."""
    return b"data: " + data + b"\n\n"
