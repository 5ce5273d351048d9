"""Requests that a model would answer, in every form: what its documents show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from salver.errors import SalverError
from salver.oip.binding import Binder
from salver.oip.components import example_of
from salver.oip.generate import read_generate
from salver.oip.json_slots import JsonSlot
from salver.oip.metadata import ModelMetadata
from salver.oip.rest import RestFormat, write_request
from salver.oip.types import InferRequest, Tensor
from salver.oip.v1 import bind_v1, read_v1, takes_batches

__all__ = ("examples",)

Schema = dict[str, Any]

_LONGEST: Final = 1024  # bytes of JSON; more shows nobody anything


def examples(
    binder: Binder, metadata: ModelMetadata, plain: Schema, schemas: dict[str, Schema]
) -> dict[str, Any]:
    """Bodies by the names of their schemas; `plain` is the schema of the plain one. Each has been
    read and bound here: what cannot be is left out, as not all that a type wants can be guessed."""
    carried = binder.signature.carried
    if any(argument.group is not None and argument.required for argument in carried):
        return {}  # which columns it wants, nobody can guess
    body = example_of(plain, schemas)
    found: dict[str, Any] = {"Plain": body}
    try:
        given = binder.bind_plain(body)
        found["InferRequest"] = _infer_request(binder, given, body)
    except SalverError:
        return {}
    found["GenerateRequest"] = body
    found["V1Request"] = _v1_request(binder, body)
    checks: dict[str, Callable[[bytes], object]] = {
        "Plain": binder.bind_json,
        "InferRequest": lambda text: binder.bind(RestFormat().read_request(text)),
        "GenerateRequest": lambda text: binder.bind(read_generate(text, metadata, RestFormat())),
        "V1Request": lambda text: bind_v1(binder, read_v1(text)),
    }
    return {name: value for name, value in found.items() if _is_right(value, checks[name])}


def _is_right(body: Any, check: Callable[[bytes], object]) -> bool:
    text = msgspec.json.encode(body)
    try:
        check(text)
    except SalverError:
        return False
    return len(text) <= _LONGEST


def _infer_request(binder: Binder, given: dict[str, Any], body: dict[str, Any]) -> Any:
    inputs: list[Tensor] = []
    for argument in binder.signature.carried:
        if argument.name not in given:
            continue
        value = given[argument.name]
        if argument.group is not None:
            inputs += argument.group.encode_all(value)
        elif isinstance(argument.slot, JsonSlot) and value is not None:
            # Not the value's own JSON: that of a model has what is computed from it as well.
            inputs.append(argument.slot.tensor(argument.tensor, body[argument.tensor]))
        elif argument.slot is not None and not (value is None and argument.nullable):
            inputs.append(argument.slot.encode(argument.tensor, value))
    return msgspec.json.decode(write_request(InferRequest(inputs)).text)


def _v1_request(binder: Binder, body: dict[str, Any]) -> Any:
    if not takes_batches(binder):
        return {"instances": [body]}
    first = next(iter(body.values()), None)
    if len(body) == 1 and isinstance(first, list):
        return {"instances": first}
    return {"inputs": body}
