"""Fields of option structs, checked one by one, with errors that teach."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any, TypeVar

import msgspec
from msgspec import Meta

from salver.spec.mistakes import mistake, spelled, unknown

__all__ = ("check", "default", "meta", "read", "unknown")

Made = TypeVar("Made", bound=msgspec.Struct)


def check(kind: type[msgspec.Struct], name: str, value: Any, called: str = "") -> Any:
    """The value as this field's type. TypeError: a wrong type. ValueError: out of bounds.

    `called`: as users know the field, where that is not its name.
    """
    annotated = _field(kind, name).type
    try:
        return msgspec.convert(value, annotated)
    except msgspec.ValidationError as error:
        found = mistake(error, value, annotated)
        where = spelled(called or name, found.path)
        raise found.error(
            f"{where}={found.given!r} is not valid: {found.sentence}{_meaning(kind, name)}"
        ) from None


def read(kind: type[Made], given: Mapping[str, Any], called: str) -> Made:
    """A struct of these fields, each checked by itself, and then all of them together.

    `called`: as users know it; empty: its fields are known by their own names.
    """
    fields = {}
    for name, value in given.items():
        fields[name] = check(kind, name, value, f"{called}[{name!r}]" if called else name)
    try:
        return kind(**fields)
    except ValueError as error:
        if not called:
            raise
        raise ValueError(f"{called}={dict(given)!r} is not valid: {error}.") from None


def _meaning(kind: type[msgspec.Struct], name: str) -> str:
    means = meta(kind, name).description
    return f" What it means: {means}{_otherwise(kind, name)}" if means else ""


def _otherwise(kind: type[msgspec.Struct], name: str) -> str:
    if _field(kind, name).required:
        return ""
    left_out = default(kind, name)
    shown = left_out.value if isinstance(left_out, Enum) else left_out
    return f" Leave it out for the default, {shown!r}."


def meta(kind: type[msgspec.Struct], name: str) -> Meta:
    """Bounds and description of a field."""
    metas = getattr(_field(kind, name).type, "__metadata__", ())
    return next((one for one in metas if isinstance(one, Meta)), Meta())


def default(kind: type[msgspec.Struct], name: str) -> Any:
    """What a field is when it is left out."""
    field = _field(kind, name)
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def _field(kind: type[msgspec.Struct], name: str) -> Any:
    return _fields(kind)[name]


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """By name. Reading the types of a struct's fields takes milliseconds, every time."""
    return {field.name: field for field in msgspec.structs.fields(kind)}
