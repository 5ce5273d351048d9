"""What is known of a struct's fields: types, bounds, defaults, meanings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

__all__ = ("default", "fields_of", "meaning", "meta")


@cache
def fields_of(kind: type[msgspec.Struct]) -> Mapping[str, FieldInfo]:
    """By name. Kept: reading the types of a struct's fields takes milliseconds."""
    return {field.name: field for field in msgspec.structs.fields(kind)}


def meta(kind: type[msgspec.Struct], name: str) -> Meta:
    """Bounds and description of a field."""
    return _meta_of(fields_of(kind)[name].type)


def default(kind: type[msgspec.Struct], name: str) -> Any:
    """What a field is when it is left out."""
    field = fields_of(kind)[name]
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def meaning(annotated: Any) -> str:
    """The description that a type was annotated with."""
    return _meta_of(annotated).description or ""


def _meta_of(annotated: Any) -> Meta:
    metas = getattr(annotated, "__metadata__", ())
    return next((one for one in metas if isinstance(one, Meta)), Meta())
