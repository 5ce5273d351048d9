"""Values that pydantic reads: also with arrays or images in them, which it takes from Python only.

For these its own schema is taken, with our reader before each place where an array has to be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Annotated, Any, Final, TypeAlias, get_args, get_origin, get_type_hints

from salver.oip.codecs.foreign import is_array_like, is_instance
from salver.oip.errors import ContentError, InvalidMessageError

__all__ = (
    "Inner",
    "dumped",
    "is_mark",
    "json_schema_of",
    "uses_pydantic",
    "validated",
    "within",
    "within_of",
    "written_fields",
)

Inner: TypeAlias = Callable[[Any, Any], Any]  # of a type and what JSON had for it
Fallback: TypeAlias = Callable[[Any], Any]

_MARKS: Final = ("pydantic.", "annotated_types")  # where their classes are
_OWN: Final = "__get_pydantic_core_schema__"  # what marks of users' own have
_WITHIN: Final = " - within `$"
_HINT: Final = "salver_hint"
_OPAQUE: Final = frozenset(("config", "default", "metadata", "serialization"))  # no schemas


def uses_pydantic(hint: Any) -> bool:
    """Whether pydantic reads values of this annotation."""
    try:
        return _known_use(hint)
    except TypeError:  # it cannot be hashed
        return _use(hint)


def _use(hint: Any) -> bool:
    if hasattr(hint, "__pydantic_core_schema__") or is_mark(hint):
        return True
    return any(map(uses_pydantic, get_args(hint)))


_known_use = lru_cache(maxsize=256)(_use)  # it is asked for by each call


def is_mark(mark: Any) -> bool:
    """Whether it says in an annotation what pydantic is to look for."""
    known = type(mark).__module__.startswith(_MARKS)
    return (known or hasattr(mark, _OWN)) and not isinstance(mark, type)


def within(error: InvalidMessageError) -> ValueError:
    """What `Inner` raises over a value that is wrong: libraries tell where the value is."""
    return ValueError(f"{error.message}{_WITHIN}{error.path}" if error.path else error.message)


def within_of(sentence: str) -> tuple[str, str]:
    """The sentence of such an error, and the path within the value."""
    message, _, path = sentence.partition(_WITHIN)
    return message, path


def validated(hint: Any, method: str, value: Any, inner: Inner | None) -> Any:
    """A value of this annotation, by `validate_python` or `validate_json`. ContentError: it is
    none."""
    pydantic = sys.modules["pydantic"]
    try:
        return getattr(_reader_of(hint, inner), method)(value)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
        sentence, rest = within_of(str(first["msg"]))
        raise ContentError(sentence, path + rest) from None


def dumped(value: Any, fallback: Fallback, *, computed: bool = True) -> Any:
    """A model as JSON has it, as its schema says; what pydantic does not know by `fallback`."""
    if is_instance(value, "pydantic", "BaseModel"):
        return value.model_dump(
            mode="json", by_alias=True, fallback=fallback, round_trip=not computed
        )
    return value.model_dump(mode="json", by_alias=True)


def _reader_of(hint: Any, inner: Inner | None) -> Any:
    """Made once for each annotation: making one costs more than using it."""
    try:
        return _known_reader(hint, inner)
    except TypeError:  # an annotation that cannot be hashed, such as one with a dict in it
        return _reader(hint, inner)


def _reader(hint: Any, inner: Inner | None) -> Any:
    adapter = sys.modules["pydantic"].TypeAdapter(hint)
    if inner is None or not _has_arrays(adapter.core_schema):
        return adapter
    # A model that is complete has a validator, which would be used in the place of this schema.
    schema = _reading(adapter.core_schema, inner)
    return sys.modules["pydantic_core"].SchemaValidator(schema, _use_prebuilt=False)


_known_reader = lru_cache(maxsize=256)(_reader)


def _has_arrays(schema: Any) -> bool:
    if isinstance(schema, list | tuple):
        return any(map(_has_arrays, schema))
    if not isinstance(schema, dict):
        return False
    if schema.get("type") == "is-instance" and is_array_like(schema["cls"]):
        return True
    return any(_has_arrays(part) for key, part in schema.items() if key not in _OPAQUE)


def _reading(schema: Any, inner: Inner, hints: Any = None, hint: Any = None) -> Any:
    """The schema with our reader before arrays; `hints` are those of the class around it, `hint`
    that of its field."""
    if isinstance(schema, list | tuple):
        return type(schema)(_reading(part, inner, hints, hint) for part in schema)
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "is-instance" and is_array_like(schema["cls"]):
        return _read_first(schema, inner, hint)
    if isinstance(schema.get("cls"), type):
        hints = _hints_of(schema["cls"])
        hint = hints.get("root") if schema.get("root_model") else hint
    if hints and str(schema.get("type", "")).endswith("-field"):
        hint = hints.get(schema.get("name"), hint)
    changed = {}
    for key, part in schema.items():
        if key in _OPAQUE:
            changed[key] = part
        elif key == "fields" and isinstance(part, dict):
            changed[key] = {
                name: _reading(field, inner, hints, (hints or {}).get(name))
                for name, field in part.items()
            }
        else:
            changed[key] = _reading(part, inner, hints, hint)
    return changed


def _read_first(schema: dict[str, Any], inner: Inner, hint: Any) -> dict[str, Any]:
    arrays = [found for found in _arrays_in(hint) if _class_of(found) is schema["cls"]]
    wanted = arrays[0] if len(arrays) == 1 else schema["cls"]
    read = partial(_read, inner, wanted, schema["cls"])
    return {
        "type": "function-before",
        "function": {"type": "no-info", "function": read},
        "schema": schema | {"metadata": {_HINT: wanted}},
    }


def _read(inner: Inner, wanted: Any, kind: type, value: Any) -> Any:
    if isinstance(value, kind):
        return value
    try:
        return inner(wanted, value)
    except ValueError as error:
        told = {"told": str(error)}
        raise sys.modules["pydantic_core"].PydanticCustomError("array", "{told}", told) from None


def _hints_of(kind: type) -> dict[str, Any]:
    fields = getattr(kind, "__pydantic_fields__", None)
    if fields is None:
        return get_type_hints(kind, include_extras=True)
    return {
        name: Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        for name, field in fields.items()
    }


def written_fields(kind: Any) -> list[tuple[str, str, Any]]:
    """Their names in Python and in JSON, and annotations; also of fields that are computed."""
    fields = kind.__pydantic_fields__
    found = [
        (name, fields[name].serialization_alias or name, hint)
        for name, hint in _hints_of(kind).items()
    ]
    computed = kind.__pydantic_decorators__.computed_fields
    return found + [
        (name, one.info.alias or name, one.info.return_type) for name, one in computed.items()
    ]


def _arrays_in(hint: Any) -> Iterator[Any]:
    """The annotations of arrays in one of a field, with what is said beside them."""
    if get_origin(hint) is Annotated:
        kind, *marks = get_args(hint)
        yield from (Annotated[found, *marks] for found in _arrays_in(kind))
    elif is_array_like(hint):
        yield hint
    else:
        for argument in get_args(hint):
            yield from _arrays_in(argument)


def _class_of(hint: Any) -> Any:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_origin(hint) or hint


def json_schema_of(hint: Any, inner: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """The JSON schema of values of this annotation; `inner` has those of arrays."""
    pydantic = sys.modules["pydantic"]
    schema = _reading(pydantic.TypeAdapter(hint).core_schema, lambda _, value: value)
    found: dict[str, Any] = _generator()(inner).generate(schema)
    return found


@lru_cache(maxsize=1)
def _generator() -> Any:
    parent = sys.modules["pydantic"].json_schema.GenerateJsonSchema

    class Generator(parent):  # type: ignore[misc,valid-type]
        """Knows arrays, and leaves out defaults that are some."""

        ignored_warning_kinds = parent.ignored_warning_kinds | {"non-serializable-default"}

        def __init__(self, inner: Callable[[Any], dict[str, Any]]) -> None:
            super().__init__()
            self._inner = inner

        def is_instance_schema(self, schema: Any) -> Any:
            hint = schema.get("metadata", {}).get(_HINT)
            return super().is_instance_schema(schema) if hint is None else self._inner(hint)

    return Generator
