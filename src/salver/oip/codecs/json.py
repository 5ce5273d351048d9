"""Anything that JSON can say, including arrays, models of pydantic, and what msgspec knows."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

import msgspec
import numpy as np

from salver.oip import jsontext
from salver.oip.codecs.foreign import is_instance
from salver.oip.codecs.image import is_image, write_image
from salver.oip.codecs.pydantic import (
    Inner,
    dumped,
    json_schema_of,
    uses_pydantic,
    validated,
    within_of,
)
from salver.oip.datatypes import name_of
from salver.oip.errors import ContentError, InvalidResultError
from salver.oip.nojson import why_no_json

__all__ = (
    "convert",
    "from_json",
    "held",
    "is_plain",
    "parse_as",
    "schema_of",
    "to_builtins",
    "to_json",
)


def to_json(value: object, *, computed: bool = True) -> bytes:
    """A value as JSON; arrays as nested lists, bytes as base64, NaN as null. Models of pydantic
    without their `computed` fields are what they can be read from again."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain if computed else _plain_input)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidResultError(
            f"A value of type {type(value).__name__} cannot be written as JSON: {error}"
        ) from None


def to_builtins(value: object) -> Any:
    """The same as str, numbers, lists and dicts."""
    return msgspec.to_builtins(value, enc_hook=_plain)


def from_json(data: bytes) -> Any:
    """What JSON says."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"no valid JSON ({error})") from None


def is_plain(value: object) -> bool:
    """Whether a value is one of those that JSON has a form for."""
    return (
        value is None
        or isinstance(value, bool | int | float | str | list | tuple | Mapping | msgspec.Struct)
        or dataclasses.is_dataclass(value)
        or hasattr(value, "model_dump")
    )


def _plain_input(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return dumped(value, lambda inner: from_json(to_json(inner)), computed=False)
    return _plain(value)


def _plain(value: Any) -> Any:
    """What msgspec does not know, as something it knows."""
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic):
        return _array(np.asarray(value))
    if hasattr(value, "model_dump"):
        return dumped(value, lambda inner: from_json(to_json(inner)))
    if is_instance(value, "torch", "Tensor"):
        return value.detach().cpu().tolist()
    if is_instance(value, "pandas", "DataFrame"):
        return value.to_dict(orient="records")
    if is_instance(value, "pandas", "Series"):
        return value.tolist()
    if is_image(value):
        return base64.b64encode(write_image(value)).decode()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"objects of type {type(value).__name__} have no JSON form")


def _array(array: Any) -> Any:
    if array.ndim <= 1 and array.dtype.kind in "iufb":
        text = jsontext.write_numbers(array, name_of(array.dtype))
        return msgspec.Raw(text if array.ndim else text[1:-1])
    if array.ndim > 1:
        return list(array)
    return array.tolist()


def convert(value: Any, hint: Any, inner: Inner | None = None) -> Any:
    """A value that came from JSON as one of this annotation, checked; `inner` reads what JSON does
    not know within it, such as arrays. ValueError: it cannot."""
    if hint is Any:
        return value
    if uses_pydantic(hint):
        return validated(hint, "validate_python", value, inner)
    try:
        return _complete(msgspec.convert(value, hint, dec_hook=inner), hint)
    except msgspec.ValidationError as error:
        raise _refused(error) from None
    except RecursionError:
        raise ContentError("nested too deeply") from None


def held(value: Any, hint: Any, inner: Inner | None = None) -> Any:
    """A result as one of this annotation: it is one already, or its JSON reads as one.

    ContentError: it does not.
    """
    if hint is Any or hint in type(value).__mro__:
        return value
    try:
        if uses_pydantic(hint):
            return validated(hint, "validate_python", value, inner)
        return _complete(msgspec.convert(value, hint, dec_hook=inner), hint)
    except (msgspec.ValidationError, ContentError) as error:
        refused = _refused(error) if isinstance(error, msgspec.ValidationError) else error
    try:
        return parse_as(to_json(value), hint, inner)
    except (ContentError, InvalidResultError):
        raise refused from None


def parse_as(data: bytes, hint: Any, inner: Inner | None = None) -> Any:
    """JSON text as a value of this annotation, checked."""
    try:
        if hint is Any:
            return msgspec.json.decode(data)
        if uses_pydantic(hint):
            return validated(hint, "validate_json", data, inner)
        return _complete(msgspec.json.decode(data, type=hint, dec_hook=inner), hint)
    except msgspec.ValidationError as error:
        raise _refused(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ContentError(*why_no_json(data, error)) from None


def _complete(value: Any, hint: Any) -> Any:
    """With the defaults of dataclasses in place: msgspec would leave them out of JSON again."""
    if _holds_dataclass(hint):
        _fill(value)
    return value


def _holds_dataclass(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) or any(map(_holds_dataclass, get_args(hint)))


def _fill(value: Any) -> None:
    if isinstance(value, list | tuple | set | frozenset):
        members: Iterable[Any] = value
    elif isinstance(value, dict):
        members = value.values()
    elif dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if hasattr(value, "__dict__"):
            vars(value).update(fields)
        members = fields.values()
    else:
        return
    for member in members:
        _fill(member)


def _refused(error: msgspec.ValidationError) -> ContentError:
    sentence, _, path = str(error).partition(" - at `$")
    sentence, rest = within_of(sentence)
    return ContentError(sentence, path.rstrip("`") + rest)


def schema_of(hint: Any, inner: Callable[[Any], dict[str, Any]] | None = None) -> dict[str, Any]:
    """The JSON schema of an annotation, with everything it refers to inside; {} when unknown."""
    if hint is Any:
        return {}
    try:
        if uses_pydantic(hint):
            return json_schema_of(hint, inner or (lambda _: {}))
        return msgspec.json.schema(hint, schema_hook=inner)
    except (TypeError, ValueError, RecursionError):
        return {}
