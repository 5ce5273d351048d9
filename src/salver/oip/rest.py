"""Inference requests and responses as HTTP bodies: JSON, alone or followed by binary tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from salver.oip.binary import Blobs, raw_request, split
from salver.oip.errors import InvalidMessageError
from salver.oip.jsonread import JsonReader, RequestEnvelope, ResponseEnvelope
from salver.oip.jsontext import write_bytes, write_numbers
from salver.oip.metadata import ModelMetadata
from salver.oip.types import (
    Buffer,
    InferRequest,
    InferResponse,
    Parameters,
    RequestedOutput,
    Tensor,
)

__all__ = ("HttpBody", "RestFormat", "write_request", "write_response")

Text = bytes | memoryview


class HttpBody(msgspec.Struct, frozen=True, eq=False):
    """A body in parts that need not be joined; `header_length` is None when it is plain JSON."""

    text: bytes
    blobs: tuple[Buffer, ...] = ()
    header_length: int | None = None

    @property
    def size(self) -> int:
        """How many bytes the body has."""
        return len(self.text) + sum(map(len, self.blobs))

    def join(self) -> bytes:
        """The whole body; a copy only where there are blobs."""
        return b"".join((self.text, *self.blobs)) if self.blobs else self.text


class RestFormat:
    """Reads V2 bodies. One per process is enough; threads may share it."""

    def __init__(self) -> None:
        self._requests = JsonReader(RequestEnvelope)
        self._responses = JsonReader(ResponseEnvelope)

    def read_request(
        self,
        body: Text,
        header_length: str | int | None = None,
        metadata: ModelMetadata | None = None,
    ) -> InferRequest:
        """The request of a body; `header_length` is the Inference-Header-Content-Length if sent.

        A header length of 0 is the raw request: the body is the one input that `metadata` names.
        """
        text, blobs = split(body, header_length)
        if blobs is not None and not len(text):
            return raw_request(blobs, metadata)
        envelope, inputs = self._requests.read(text, blobs)
        request = InferRequest(inputs, id=envelope.id or "")
        if envelope.outputs:
            request.outputs = _outputs(envelope.outputs)
        if envelope.parameters:
            _flag(envelope.parameters, "binary_data_output", "$.parameters")
            request.parameters = envelope.parameters
        return request

    def read_response(self, body: Text, header_length: str | int | None = None) -> InferResponse:
        """The response of a body, as a client receives it."""
        return self.read_response_parts(*split(body, header_length))

    def read_response_parts(self, text: Text, blobs: Blobs | None) -> InferResponse:
        """The same of a body whose JSON and tensors lie apart."""
        envelope, outputs = self._responses.read(text, blobs)
        return InferResponse(
            outputs,
            envelope.model_name or "",
            envelope.model_version or "",
            envelope.id or "",
            envelope.parameters or {},
        )


def _outputs(items: Sequence[Any]) -> list[RequestedOutput]:
    outputs = [RequestedOutput(item.name, item.parameters or {}) for item in items]
    for index, output in enumerate(outputs):
        _flag(output.parameters, "binary_data", f"$.outputs[{index}].parameters")
    return outputs


def _flag(parameters: Parameters, name: str, at: str) -> None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidMessageError(f"expected true or false, got {value!r:.40}", f"{at}.{name}")


class _Tensor(msgspec.Struct, omit_defaults=True):
    name: str
    datatype: str
    shape: tuple[int, ...]
    parameters: Parameters = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Request(msgspec.Struct, omit_defaults=True):
    inputs: list[_Tensor]
    outputs: list[RequestedOutput] = []
    id: str = ""
    parameters: Parameters = {}


class _Response(msgspec.Struct, omit_defaults=True):
    model_name: str
    outputs: list[_Tensor]
    model_version: str = ""
    id: str = ""
    parameters: Parameters = {}


def write_request(
    request: InferRequest, binary: Callable[[str], bool] = lambda _: False
) -> HttpBody:
    """A client's request; `binary` says which inputs go as binary data."""
    blobs: list[Buffer] = []
    inputs = [_written(tensor, binary(tensor.name), blobs) for tensor in request.inputs]
    return _body(_Request(inputs, request.outputs, request.id, request.parameters), blobs)


def write_response(
    response: InferResponse, binary: Callable[[str], bool] = lambda _: False
) -> HttpBody:
    """A response; `binary` says which outputs go as binary data (see `wants_binary`)."""
    blobs: list[Buffer] = []
    outputs = [_written(tensor, binary(tensor.name), blobs) for tensor in response.outputs]
    envelope = _Response(
        response.model_name, outputs, response.model_version, response.id, response.parameters
    )
    return _body(envelope, blobs)


def _body(envelope: _Request | _Response, blobs: list[Buffer]) -> HttpBody:
    text = msgspec.json.encode(envelope)
    return HttpBody(text, tuple(blobs), len(text)) if blobs else HttpBody(text)


def _written(tensor: Tensor, binary: bool, blobs: list[Buffer]) -> _Tensor:
    written = _Tensor(tensor.name, tensor.datatype, tensor.shape, tensor.parameters)
    if tensor.data is None:
        return written
    if binary:
        contents = tensor.contents()
        blobs.append(contents)
        written.parameters = tensor.parameters | {"binary_data_size": len(contents)}
        return written
    array: Any = tensor.array()
    if tensor.datatype != "BYTES":
        written.data = msgspec.Raw(write_numbers(array, tensor.datatype))
        return written
    text, coded = write_bytes(array)
    if coded:
        written.parameters = tensor.parameters | {"encoding": "base64"}
    written.data = msgspec.Raw(text)
    return written
