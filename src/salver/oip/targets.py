"""What a door must know of a ModelInferRequest to pass it on: its bytes stay as they are."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from salver.oip import proto
from salver.oip.proto.wire import fields, varint

__all__ = ("Target", "stream_item", "target_of", "write_stream_error")

_MOST: Final = 64  # fields that are looked at here; protobuf itself looks at more
_NAMES: Final = {0x0A: 0, 0x12: 1, 0x1A: 2}
_ITEM: Final = b"\x12"  # infer_response of a ModelStreamInferResponse
_InferRequest: Final = proto.message("ModelInferRequest")
_StreamResponse: Final = proto.message("ModelStreamInferResponse")


class Target(NamedTuple):
    """Which model a request is for, and what the client calls it."""

    model: str = ""
    version: str = ""
    id: str = ""


def target_of(data: bytes | memoryview) -> Target:
    """The target of a serialised request. MalformedBodyError: the bytes are none."""
    found = fields(data, _MOST)
    if found is not None:
        names = ["", "", ""]
        try:
            for tag, _, start, end in found:
                if tag in _NAMES:
                    names[_NAMES[tag]] = str(data[start:end], "utf-8")
            return Target(*names)
        except UnicodeDecodeError:
            pass
    message = proto.parse(_InferRequest, data)
    return Target(message.model_name, message.model_version, message.id)


def stream_item(response: bytes) -> bytes:
    """The ModelStreamInferResponse that holds a serialised response."""
    return b"".join((_ITEM, varint(len(response)), response))


def write_stream_error(error: str, id: str = "") -> Any:  # noqa: A002 - the protocol's word
    """A ModelStreamInferResponse that says what went wrong with the request of that id."""
    message = _StreamResponse(error_message=error)
    message.infer_response.id = id
    return message
