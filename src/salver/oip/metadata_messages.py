"""Metadata, parameters and plain data to and from protobuf messages. Needs the extra `grpc`.

Without numpy: doors that hold no tensors speak these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from salver.oip import proto
from salver.oip.metadata import ModelMetadata, Parameters, ServerMetadata, TensorMetadata

__all__ = (
    "fill",
    "read_model_metadata",
    "read_parameters",
    "read_server_metadata",
    "write_model_metadata",
    "write_parameters",
    "write_server_metadata",
)

_INT64: Final = 2**63
_ModelMetadata: Final = proto.message("ModelMetadataResponse")
_ServerMetadata: Final = proto.message("ServerMetadataResponse")


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
