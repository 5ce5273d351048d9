"""Fields of option structs, checked one by one, with errors that teach."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec

from salver.spec.mistakes import mistake, spelled, unknown
from salver.spec.structs import default, fields_of, meta

__all__ = ("check_field", "check_names", "read")

Made = TypeVar("Made", bound=msgspec.Struct)


def check_field(kind: type[msgspec.Struct], name: str, value: Any, called: str = "") -> Any:
    """The value as this field's type. TypeError: a wrong type. ValueError: out of bounds.

    `called`: as users know the field, where that is not its name.
    """
    annotated = fields_of(kind)[name].type
    try:
        return msgspec.convert(value, annotated)
    except msgspec.ValidationError as error:
        found = mistake(error, value, annotated)
        where = spelled(called or name, found.path)
        raise found.error(
            f"{where}={found.given!r} is not valid: {found.sentence}{_meaning(kind, name)}"
        ) from None


def check_names(kind: type[msgspec.Struct], given: Mapping[str, Any], called: str) -> None:
    """TypeError: a key that is no field of this struct. `called`: what its fields are to users."""
    known = kind.__struct_fields__
    for name in given:
        if name not in known:
            raise TypeError(unknown(str(name), known, called))


def read(kind: type[Made], given: Mapping[str, Any], called: str) -> Made:
    """A struct of these fields, each checked by itself, and then all of them together.

    `called`: as users know it; empty: its fields are known by their own names.
    """
    fields = {}
    for name, value in given.items():
        fields[name] = check_field(kind, name, value, f"{called}[{name!r}]" if called else name)
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
    if fields_of(kind)[name].required:
        return ""
    left_out = default(kind, name)
    shown = left_out.value if isinstance(left_out, Enum) else left_out
    return f" Leave it out for the default, {shown!r}."
