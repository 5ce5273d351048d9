"""Requests and responses to and from protobuf messages. Needs the extra `grpc`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from salver.oip import proto, typed
from salver.oip.datatypes import count_of, datatype_named
from salver.oip.errors import InvalidMessageError, InvalidTensorError
from salver.oip.metadata_messages import read_parameters, write_parameters
from salver.oip.types import (
    Buffer,
    InferRequest,
    InferResponse,
    RequestedOutput,
    Tensor,
    check_number,
)

__all__ = (
    "fill_response",
    "read_infer_request",
    "read_infer_response",
    "uses_typed_contents",
    "write_infer_request",
)

_InferRequest: Final = proto.message("ModelInferRequest")


def read_infer_request(message: Any, raw: Sequence[Buffer] | None = None) -> InferRequest:
    """The neutral form of a ModelInferRequest; `raw` are its raw contents, if they lie elsewhere.

    What is raw stays a view.
    """
    if raw is None:
        raw = message.raw_input_contents
    return InferRequest(
        _read_tensors(message.inputs, raw, "inputs", "raw_input_contents"),
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
    raw: list[Buffer] | None = None if typed_contents else []
    _write_tensors(message.inputs, raw, request.inputs)
    if raw:
        message.raw_input_contents.extend(map(bytes, raw))
    return message


def fill_response(message: Any, response: InferResponse, raw: list[Buffer] | None) -> None:
    """Fill a ModelInferResponse, but for raw contents: these go to `raw`, if that is a list."""
    message.model_name = response.model_name
    message.model_version = response.model_version
    message.id = response.id
    write_parameters(message.parameters, response.parameters)
    _write_tensors(message.outputs, raw, response.outputs)


def _read_tensors(
    items: Sequence[Any], raw: Sequence[Buffer], at: str, raw_at: str
) -> list[Tensor]:
    check_number(len(items), at)
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


def _read_raw(item: Any, raw: Sequence[Buffer], used: int, raw_at: str) -> Tensor:
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
    if "shared_memory_region" in parameters:
        if typed.is_given(item):
            raise InvalidTensorError(
                "a tensor lies either in shared memory or here, not in both", ".contents"
            )
    else:
        data = typed.read_contents(item.contents, kind, shape, count)
    return Tensor(item.name, kind.name, shape, data, parameters)


def _write_tensors(items: Any, raw: list[Buffer] | None, tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        item = items.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        write_parameters(item.parameters, tensor.parameters)
        if tensor.data is None:
            continue
        if raw is None:
            typed.write_contents(item.contents, tensor)
        else:
            raw.append(tensor.contents())
