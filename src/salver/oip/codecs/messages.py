"""Whole requests and responses by content type: from the message, else from the model's metadata.

This is how models that are handed the request itself decode it. Unlike elsewhere, an unknown
content type is an error, and nothing is decoded twice.
"""

from __future__ import annotations

from typing import Any

from salver.oip.codecs.registry import Codec, GroupCodec, Registry
from salver.oip.errors import InvalidMessageError, MismatchError
from salver.oip.metadata import ModelMetadata
from salver.oip.types import InferRequest, InferResponse, Parameters, Tensor

__all__ = ("decode_input", "decode_request", "encode_response")


def decode_input(
    registry: Registry,
    tensor: Tensor,
    metadata: ModelMetadata | None = None,
    default: Codec | None = None,
) -> Any:
    """The value of one input: by its own content type, else the model's, the default, or as is."""
    declared = metadata.input(tensor.name) if metadata is not None else None
    if "content_type" not in tensor.parameters and declared is not None:
        content_type = declared.parameters.get("content_type")
        if content_type is not None:
            return registry.named(str(content_type)).decode(tensor)
    return registry.decode(tensor, default)


def decode_request(
    registry: Registry,
    request: InferRequest,
    metadata: ModelMetadata | None = None,
    default: Codec | GroupCodec | None = None,
) -> Any:
    """The value of a whole request; the request itself if nothing says what it is."""
    content_type = _content_type(request.parameters, metadata)
    codec = _codec(registry, content_type) if content_type is not None else default
    if codec is None:
        return request
    if hasattr(codec, "decode_all"):
        return codec.decode_all(request.inputs)
    if len(request.inputs) != 1:
        raise MismatchError(
            f"content type {codec.content_type!r} needs exactly one input, got "
            f"{len(request.inputs)}",
            "$.inputs",
        )
    try:
        return codec.decode(request.inputs[0])
    except InvalidMessageError as error:
        raise error.under("$.inputs[0]") from None


def encode_response(registry: Registry, value: object, model_name: str = "") -> InferResponse:
    """The response of a value: a tensor per column of a frame, else one named `output-1`."""
    outputs = registry.encode_all(value)
    if len(outputs) == 1 and outputs[0].name == "output-0":
        outputs[0].name = "output-1"
    return InferResponse(outputs, model_name)


def _content_type(parameters: Parameters, metadata: ModelMetadata | None) -> str | None:
    found = parameters.get("content_type")
    if found is None and metadata is not None:
        found = metadata.parameters.get("content_type")
    return None if found is None else str(found)


def _codec(registry: Registry, content_type: str) -> Codec | GroupCodec:
    for group in registry.groups:
        if group.content_type == content_type:
            return group
    try:
        return registry.named(content_type)
    except InvalidMessageError as error:
        raise error.under("$") from None
