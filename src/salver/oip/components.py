"""JSON schemas as components of one OpenAPI document, and values that they allow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

__all__ = ("Components", "example_of")

Schema = dict[str, Any]

_LOCAL: Final = "#/$defs/"
_SHARED: Final = "#/components/schemas/"
_DEEPEST: Final = 8  # lists and records within each other; a type may refer to itself
# One black pixel, as bytes are an image in most of the examples where they are anything at all.
_PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
_TEXTS: Final = {
    "date-time": "2026-01-31T12:00:00",
    "date": "2026-01-31",
    "time": "12:00:00",
    "duration": "PT1S",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uuid4": "00000000-0000-4000-8000-000000000000",
    "decimal": "1.5",
}


class Components:
    """`schemas` by name; what the schema of a type refers to becomes one of them."""

    def __init__(self, schemas: dict[str, Schema]) -> None:
        self.schemas = schemas
        self._defined: dict[str, Schema] = {}  # as they were

    def adopt(self, schema: Schema) -> Schema:
        """The same schema, with its `$defs` among the components: only there are they found."""
        found: Schema = self._moved(schema, {})
        return found

    def _moved(self, part: Any, names: dict[str, str]) -> Any:
        if isinstance(part, list):
            return [self._moved(item, names) for item in part]
        if isinstance(part, str) and part.startswith(_LOCAL):
            return _SHARED + names.get(part.removeprefix(_LOCAL), part)
        if not isinstance(part, dict):
            return part
        definitions = part.get("$defs", {})
        names = names | {name: self._free(name, schema) for name, schema in definitions.items()}
        for name, schema in definitions.items():
            if names[name] not in self.schemas:
                self._defined[names[name]] = schema
                self.schemas[names[name]] = {}  # taken, also for those within
                self.schemas[names[name]] = self._moved(schema, names)
        return {key: self._moved(value, names) for key, value in part.items() if key != "$defs"}

    def _free(self, name: str, schema: Schema) -> str:
        """A name that is this schema's already, or nobody's."""
        number, free = 1, name
        while free in self.schemas and self._defined.get(free) != schema:
            number += 1
            free = f"{name}-{number}"
        return free


def example_of(schema: Schema, schemas: dict[str, Schema], depth: int = 0) -> Any:
    """A value that the schema allows, as far as that can be told from it."""
    if depth > _DEEPEST:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    inner = _inner(schema, schemas)
    if inner is not None:
        return example_of(inner, schemas, depth + 1)
    kind = schema.get("type", "integer")
    kind = kind[0] if isinstance(kind, list) else kind
    make = _MAKERS.get(kind)
    return _number(schema, kind) if make is None else make(schema, schemas, depth)


def _inner(schema: Schema, schemas: dict[str, Schema]) -> Schema | None:
    """The one that says more."""
    if "$ref" in schema:
        return schemas[schema["$ref"].removeprefix(_SHARED)]
    choices = next((schema[key] for key in ("anyOf", "oneOf", "allOf") if schema.get(key)), None)
    return None if choices is None else dict(choices[0])


def _object(schema: Schema, schemas: dict[str, Schema], depth: int) -> Any:
    properties = schema.get("properties", {})
    return {
        name: example_of(properties.get(name, {}), schemas, depth + 1)
        for name in schema.get("required", ())
    }


def _items(schema: Schema, schemas: dict[str, Schema], depth: int) -> list[Any]:
    given = schema.get("prefixItems", ())
    count = max(schema.get("minItems", 1), len(given))
    rest = schema.get("items") or {}
    kinds = [*given, *(rest for _ in range(count - len(given)))]
    return [example_of(kind, schemas, depth + 1) for kind in kinds]


def _text(schema: Schema, *_: Any) -> str:
    if "contentEncoding" in schema:
        return _PIXEL
    text = _TEXTS.get(schema.get("format", ""), "text")
    return text.ljust(schema.get("minLength", 0), ".")


def _number(schema: Schema, kind: str) -> Any:
    """1 or 0.5, or what is nearest to it among the numbers that are allowed."""
    number = 1 if kind == "integer" else 0.5
    number = max(number, schema.get("minimum", number), schema.get("exclusiveMinimum", -1) + 1)
    most = min(schema.get("maximum", number), schema.get("exclusiveMaximum", number + 1) - 1)
    return min(number, most)


_MAKERS: Final[dict[str, Callable[..., Any]]] = {
    "object": _object,
    "array": _items,
    "string": _text,
    "boolean": lambda *_: True,
    "null": lambda *_: None,
}
