"""Fields of option structs, checked one by one, with errors that teach."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

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
            f"{name}={value!r} is not valid: {_lower(str(error))}. "
            f"What it means: {meta(kind, name).description}{_otherwise(kind, name)}"
        ) from None


def _otherwise(kind: type[msgspec.Struct], name: str) -> str:
    if _field(kind, name).required:
        return ""
    return f" Leave it out for the default, {default(kind, name)!r}."


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
    return next(field for field in msgspec.structs.fields(kind) if field.name == name)


def _lower(text: str) -> str:
    text = text[:1].lower() + text[1:].replace("`", "").rstrip(".")
    return text.replace("expected object", "expected dict").replace("object contains", "it has")
