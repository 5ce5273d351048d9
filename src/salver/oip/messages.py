"""Requests, responses and metadata to and from protobuf messages. Needs the extra `grpc`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from salver.oip import proto, typed
from salver.oip.datatypes import count_of, datatype_named
from salver.oip.errors import InvalidMessageError, InvalidTensorError
from salver.oip.metadata import ModelMetadata, ServerMetadata, TensorMetadata
from salver.oip.types import InferRequest, InferResponse, Parameters, RequestedOutput, Tensor

__all__ = (
    "fill",
    "read_infer_request",
    "read_infer_response",
    "read_model_metadata",
    "read_parameters",
    "read_server_metadata",
    "uses_typed_contents",
    "write_infer_request",
    "write_infer_response",
    "write_model_metadata",
    "write_server_metadata",
    "write_stream_error",
    "write_stream_item",
)

_INT64: Final = 2**63
_InferRequest: Final = proto.message("ModelInferRequest")
_InferResponse: Final = proto.message("ModelInferResponse")
_StreamResponse: Final = proto.message("ModelStreamInferResponse")
_ModelMetadata: Final = proto.message("ModelMetadataResponse")
_ServerMetadata: Final = proto.message("ServerMetadataResponse")


def read_infer_request(message: Any) -> InferRequest:
    """The neutral form of a ModelInferRequest; raw contents stay views of the message's bytes."""
    return InferRequest(
        _read_tensors(message.inputs, message.raw_input_contents, "inputs", "raw_input_contents"),
        [RequestedOutput(o.name, read_parameters(o.parameters)) for o in message.outputs],
        message.model_name,
        message.model_version,
        message.id,
        read_parameters(message.parameters),
    )


def read_infer_response(message: Any) -> InferResponse:
    """The neutral form of a ModelInferResponse."""
    raw = message.raw_output_contents
    return InferResponse(
        _read_tensors(message.outputs, raw, "outputs", "raw_output_contents"),
        message.model_name,
        message.model_version,
        message.id,
        read_parameters(message.parameters),
    )


def uses_typed_contents(message: Any) -> bool:
    """Whether a ModelInferRequest speaks typed contents, and so wants its answer in them."""
    return not message.raw_input_contents and any(map(typed.is_given, message.inputs))


def write_infer_request(request: InferRequest, typed_contents: bool = False) -> Any:
    """A ModelInferRequest, with raw contents unless typed ones are asked for."""
    message = _InferRequest(
        model_name=request.model_name, model_version=request.model_version, id=request.id
    )
    write_parameters(message.parameters, request.parameters)
    for output in request.outputs:
        write_parameters(message.outputs.add(name=output.name).parameters, output.parameters)
    raw = None if typed_contents else message.raw_input_contents
    _write_tensors(message.inputs, raw, request.inputs)
    return message


def write_infer_response(response: InferResponse, typed_contents: bool = False) -> Any:
    """A ModelInferResponse, with raw contents unless typed ones are asked for."""
    message = _InferResponse()
    _fill_response(message, response, typed_contents)
    return message


def write_stream_item(response: InferResponse, typed_contents: bool = False) -> Any:
    """A ModelStreamInferResponse with one response."""
    message = _StreamResponse()
    _fill_response(message.infer_response, response, typed_contents)
    return message


def write_stream_error(error: str, id: str = "") -> Any:  # noqa: A002 - the protocol's word
    """A ModelStreamInferResponse that says what went wrong with the request of that id."""
    message = _StreamResponse(error_message=error)
    message.infer_response.id = id
    return message


def _fill_response(message: Any, response: InferResponse, typed_contents: bool) -> None:
    message.model_name = response.model_name
    message.model_version = response.model_version
    message.id = response.id
    write_parameters(message.parameters, response.parameters)
    raw = None if typed_contents else message.raw_output_contents
    _write_tensors(message.outputs, raw, response.outputs)


def _read_tensors(items: Iterable[Any], raw: Sequence[bytes], at: str, raw_at: str) -> list[Tensor]:
    tensors: list[Tensor] = []
    names: set[str] = set()
    used = 0
    for index, item in enumerate(items):
        try:
            if item.name in names:
                raise InvalidTensorError(f"{item.name!r:.60} appears twice", ".name")
            names.add(item.name)
            if raw and "shared_memory_region" not in item.parameters:
                tensors.append(_read_raw(item, raw, used, raw_at))
                used += 1
            else:
                tensors.append(_read_typed(item))
        except InvalidMessageError as error:
            raise error.under(f"$.{at}[{index}]") from None
    if used != len(raw):
        raise InvalidMessageError(
            f"{len(raw)} entries are given, but {used} tensors need one", f"$.{raw_at}"
        )
    return tensors


def _read_raw(item: Any, raw: Sequence[bytes], used: int, raw_at: str) -> Tensor:
    if typed.is_given(item):
        raise InvalidTensorError(f"give contents or {raw_at}, not both", ".contents")
    if used >= len(raw):
        raise InvalidTensorError(f"there is no entry for it in {raw_at}, only {len(raw)} in all")
    tensor = Tensor.raw(item.name, item.datatype, tuple(item.shape), raw[used])
    tensor.parameters = read_parameters(item.parameters)
    return tensor


def _read_typed(item: Any) -> Tensor:
    kind = datatype_named(item.datatype)
    shape = tuple(item.shape)
    count = count_of(shape, kind)
    parameters = read_parameters(item.parameters)
    data = None
    if "shared_memory_region" not in parameters:
        data = typed.read_contents(item.contents, kind, shape, count)
    return Tensor(item.name, kind.name, shape, data, parameters)


def _write_tensors(items: Any, raw: Any, tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        item = items.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        write_parameters(item.parameters, tensor.parameters)
        if tensor.data is None:
            continue
        if raw is None:
            typed.write_contents(item.contents, tensor)
        else:
            raw.append(bytes(tensor.contents()))


def read_parameters(parameters: Mapping[str, Any]) -> Parameters:
    """A map of InferParameter (or ModelRepositoryParameter); one with no value is None."""
    found: Parameters = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        found[name] = getattr(parameter, choice) if choice else None
    return found


def write_parameters(message: Any, parameters: Parameters) -> None:
    """Fill a map of InferParameter; lists and objects, which only JSON knows, go as their JSON."""
    for name, value in parameters.items():
        parameter = message[name]
        if isinstance(value, bool):
            parameter.bool_param = value
        elif isinstance(value, int) and -_INT64 <= value < 2 * _INT64:
            if value < _INT64:
                parameter.int64_param = value
            else:
                parameter.uint64_param = value
        elif isinstance(value, int | float):
            parameter.double_param = value
        elif isinstance(value, str):
            parameter.string_param = value
        elif value is not None:
            parameter.string_param = msgspec.json.encode(value).decode()


def write_model_metadata(metadata: ModelMetadata) -> Any:
    """A ModelMetadataResponse."""
    message = _ModelMetadata(
        name=metadata.name,
        versions=metadata.versions,
        platform=metadata.platform,
        properties=metadata.properties,
    )
    for items, tensors in ((message.inputs, metadata.inputs), (message.outputs, metadata.outputs)):
        for tensor in tensors:
            item = items.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
            write_parameters(item.parameters, tensor.parameters)
    return message


def read_model_metadata(message: Any) -> ModelMetadata:
    """The neutral form of a ModelMetadataResponse, as a client receives it."""

    def tensors(items: Iterable[Any]) -> list[TensorMetadata]:
        return [
            TensorMetadata(i.name, i.datatype, list(i.shape), read_parameters(i.parameters))
            for i in items
        ]

    return ModelMetadata(
        message.name,
        message.platform,
        tensors(message.inputs),
        tensors(message.outputs),
        list(message.versions),
        dict(message.properties),
    )


def write_server_metadata(metadata: ServerMetadata) -> Any:
    """A ServerMetadataResponse."""
    return _ServerMetadata(**msgspec.structs.asdict(metadata))


def read_server_metadata(message: Any) -> ServerMetadata:
    """The neutral form of a ServerMetadataResponse."""
    return ServerMetadata(message.name, message.version, list(message.extensions))


def fill(message: Any, data: Mapping[str, Any]) -> Any:
    """Fill a message from plain data of the same names (`msgspec.to_builtins` of a Struct)."""
    for name, value in data.items():
        field = message.DESCRIPTOR.fields_by_name.get(name)
        if field is None or value is None:
            continue  # what JSON says and the message has no place for
        target = getattr(message, name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for key, item in value.items():
                fill(target[str(key)], item) if isinstance(item, Mapping) else target.update(
                    {key: item}
                )
        elif field.is_repeated:
            for item in value:
                fill(target.add(), item) if isinstance(item, Mapping) else target.append(item)
        elif field.message_type is not None:
            fill(target, value)
            target.SetInParent()
        else:
            enum = field.enum_type
            number = enum.values_by_name[value].number if enum and isinstance(value, str) else value
            setattr(message, name, number)
    return message
