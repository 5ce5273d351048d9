"""Serialised ModelInferRequests and responses: large raw contents are neither copied nor joined."""

from __future__ import annotations

from typing import Final

from salver.oip import proto
from salver.oip.datatypes import DATATYPES
from salver.oip.messages import fill_response, read_infer_request, uses_typed_contents
from salver.oip.proto.wire import fields, varint
from salver.oip.types import Buffer, InferRequest, InferResponse

__all__ = ("read_body", "write_body")

_LARGE: Final = 16 * 1024
_MOST: Final = 1024
_RAW_INPUT: Final = 0x3A
_RAW_OUTPUT: Final = b"\x32"
_InferRequest: Final = proto.message("ModelInferRequest")
_InferResponse: Final = proto.message("ModelInferResponse")


def read_body(data: bytes | memoryview) -> tuple[InferRequest, bool]:
    """The request in these bytes, and whether it wants its answer in typed contents.

    MalformedBodyError: they are none. Raw contents are views of the bytes where that pays.
    """
    rest, raw = data, None
    if len(data) >= _LARGE:
        rest, raw = _without_raw(data)
    message = proto.parse(_InferRequest, rest, data)
    if raw:
        return read_infer_request(message, raw), False
    return read_infer_request(message), uses_typed_contents(message)


def _without_raw(data: bytes | memoryview) -> tuple[bytes | memoryview, list[Buffer] | None]:
    found = fields(data, _MOST)
    if found is None:
        return data, None
    view = memoryview(data)
    raw: list[Buffer] = [view[start:end] for tag, _, start, end in found if tag == _RAW_INPUT]
    if not raw:
        return data, None
    rest = [view[start:end] for tag, start, _, end in found if tag != _RAW_INPUT]
    return b"".join(rest), raw


def write_body(response: InferResponse, typed_contents: bool) -> tuple[bytes, list[Buffer]]:
    """A response as bytes: what comes first, and large contents apart, each where it lies.

    It is raw all the same where an output has no typed contents: FP16, BF16.
    """
    message = _InferResponse()
    typed = typed_contents and all(DATATYPES[one.datatype].field for one in response.outputs)
    raw: list[Buffer] | None = None if typed else []
    fill_response(message, response, raw)
    front = message.SerializeToString()
    if not raw:
        return front, []
    pieces: list[Buffer] = []
    for contents in raw:
        pieces += (_RAW_OUTPUT + varint(len(contents)), contents)
    if sum(map(len, pieces)) < _LARGE:
        return b"".join((front, *pieces)), []
    return front + pieces[0], pieces[1:]
