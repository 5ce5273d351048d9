"""Fields of option structs, checked one by one, with errors that teach."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum, EnumType
from functools import cache
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

__all__ = ("check", "default", "meta", "unknown")


def check(kind: type[msgspec.Struct], name: str, value: Any) -> Any:
    """The value as this field's type. TypeError: a wrong type. ValueError: out of bounds."""
    try:
        return msgspec.convert(value, _field(kind, name).type)
    except msgspec.ValidationError as error:
        wrong = TypeError if ", got" in str(error) and value is not None else ValueError
        raise wrong(
            f"{name}={value!r} is not valid: {_said(error, _field(kind, name).type)}. "
            f"What it means: {meta(kind, name).description}{_otherwise(kind, name)}"
        ) from None


def _otherwise(kind: type[msgspec.Struct], name: str) -> str:
    if _field(kind, name).required:
        return ""
    left_out = default(kind, name)
    shown = left_out.value if isinstance(left_out, Enum) else left_out
    return f" Leave it out for the default, {shown!r}."


def _said(error: msgspec.ValidationError, annotated: Any) -> str:
    """msgspec's own words, which are of JSON and name no choices, for Python."""
    text = str(error)
    if text.startswith("Invalid enum value") and " - at " not in text:
        return f"expected one of {', '.join(map(repr, _choices(annotated)))}"
    return _lower(text).replace("got null", "got None")


def _choices(annotated: Any) -> list[Any]:
    """What an enum or a Literal allows."""
    if isinstance(annotated, EnumType):
        members: list[Any] = list(annotated)
        return [choice.value for choice in members]
    parts = get_args(annotated)
    if get_origin(annotated) is Literal:
        return list(parts)
    return [choice for part in parts for choice in _choices(part)]


def meta(kind: type[msgspec.Struct], name: str) -> Meta:
    """Bounds and description of a field."""
    metas = getattr(_field(kind, name).type, "__metadata__", ())
    return next((one for one in metas if isinstance(one, Meta)), Meta())


def default(kind: type[msgspec.Struct], name: str) -> Any:
    """What a field is when it is left out."""
    field = _field(kind, name)
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """The sentence about a name that does not exist; `what` has its article."""
    known = sorted(known)
    near = get_close_matches(name, known, 1)
    hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
    return f"{name!r} is not {what}. {hint}"


def _field(kind: type[msgspec.Struct], name: str) -> Any:
    return _fields(kind)[name]


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """By name. Reading the types of a struct's fields takes milliseconds, every time."""
    return {field.name: field for field in msgspec.structs.fields(kind)}


def _lower(text: str) -> str:
    text = text[:1].lower() + text[1:].replace("`", "").rstrip(".")
    return text.replace("expected object", "expected dict").replace("object contains", "it has")
