"""From a type annotation to the slot that carries its values."""

from __future__ import annotations

import dataclasses
import enum
import types
import uuid
from datetime import date, time, timedelta
from decimal import Decimal
from functools import partial
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import msgspec
import numpy as np

from salver.oip.array_slots import ArraySlot
from salver.oip.codecs.elements import ElementCodec
from salver.oip.codecs.foreign import is_array_like
from salver.oip.codecs.frame import SeriesCodec
from salver.oip.codecs.numpy import NumpyCodec
from salver.oip.codecs.pydantic import is_mark, uses_pydantic, written_fields
from salver.oip.codecs.registry import Registry
from salver.oip.codecs.torch import TorchCodec
from salver.oip.datatypes import datatype_named, name_of
from salver.oip.errors import InvalidResultError, UnservableError
from salver.oip.json_slots import JsonSlot
from salver.oip.jsontypes import check_json
from salver.oip.rules import RuledSlot, constrain, meant, rules_of, without_rules
from salver.oip.slots import AnySlot, Slot
from salver.oip.value_slots import ChoiceSlot, ElementSlot, NumberSlot
from salver.spec.endpoint import Field

__all__ = ("is_record", "is_root", "record_fields", "slot_for", "split_hint", "unread_field")


_NO_FIELD: Final = Field()
_SCALARS: Final = (bool, int, float)
_KINDS: Final = (np.generic, np.number, np.integer, np.signedinteger, np.unsignedinteger,
                 np.inexact, np.floating, np.flexible, np.character, np.datetime64)  # fmt: skip
_AS_TEXT: Final = (date, time, timedelta, Decimal, uuid.UUID)


def split_hint(hint: Any) -> tuple[Any, Field, bool]:
    """The bare annotation, its Field, and whether None is allowed."""
    field = _NO_FIELD
    optional = False
    while True:
        hint = meant(hint)
        origin = get_origin(hint)
        if origin is Annotated:
            hint, *marks = get_args(hint)
            field = next((mark for mark in marks if isinstance(mark, Field)), field)
        elif origin in (Union, types.UnionType) and type(None) in get_args(hint):
            others = [kind for kind in get_args(hint) if kind is not type(None)]
            optional = True
            hint = others[0] if len(others) == 1 else Union[tuple(others)]  # noqa: UP007
        else:
            return hint, field, optional


def slot_for(
    hint: Any, registry: Registry, field: Field = _NO_FIELD, rules: tuple[Any, ...] = ()
) -> Slot:
    """The slot of values of this annotation, held to rules that stand beside it."""
    bare = without_rules(hint)
    slot = _bare_slot(bare, registry, field)
    if not constrain(rules) and bare is hint:
        return slot
    if not isinstance(slot, NumberSlot | ElementSlot | ChoiceSlot | JsonSlot):
        raise UnservableError(
            f"{rules[0]!r} is a rule for what JSON has values for, and no array is held to it. "
            "Look at the array in the method."
        )
    whole = Annotated[(hint, *rules)] if rules else hint
    check_json(whole, partial(_is_held, registry))
    if isinstance(slot, JsonSlot) and not slot.many:
        return JsonSlot(whole, None, partial(_slot_within, registry))
    return RuledSlot(slot, whole)


def _bare_slot(hint: Any, registry: Registry, field: Field) -> Slot:
    if field.content_type is not None:
        return _content_slot(hint, field, field.content_type, registry)
    if hint is Any or hint is object:
        return AnySlot(registry)
    codec = registry.for_hint(hint)
    if isinstance(codec, NumpyCodec | TorchCodec):
        return _array_slot(hint, codec, field)
    if isinstance(codec, SeriesCodec):
        return ArraySlot(codec, field.datatype, field.shape)
    carrier = _carrier(hint, codec, registry)
    if carrier is not None:
        return carrier
    items = get_args(hint) if get_origin(hint) is list else ()
    told = _told_by(items[0] if items else hint)
    if told is not None:
        told = list[told] if items else told  # type: ignore[valid-type]
        carrier = _carrier(told, registry.for_hint(told), registry)
        assert carrier is not None  # noqa: S101 - it is bool, int, float or str
        return ChoiceSlot(carrier, hint)
    check_json(hint, partial(_is_held, registry))
    item = items[0] if items and is_record(items[0]) else None
    return JsonSlot(hint, item, partial(_slot_within, registry))


def _slot_within(registry: Registry, hint: Any) -> Slot:
    """The slot of what JSON does not know by itself, within what it knows."""
    bare, field, _ = split_hint(hint)
    return slot_for(bare, registry, field)


def _is_held(registry: Registry, kind: type) -> bool:
    """Whether what JSON does not know by itself has a form in it all the same."""
    if uses_pydantic(kind):
        check_json(kind, partial(_is_held, registry))
        return True
    return registry.for_hint(kind) is not None


def _carrier(hint: Any, codec: object, registry: Registry) -> NumberSlot | ElementSlot | None:
    number = _number(hint)
    if number is not None:
        return NumberSlot(*number, hint)
    if isinstance(codec, ElementCodec):
        return ElementSlot(codec, get_origin(hint) is list, registry)
    return None


def _told_by(hint: Any) -> type | None:
    """bool, int, float or str, if JSON tells values of this annotation by such values alone."""
    if hint in _AS_TEXT:
        return str
    if get_origin(hint) is Literal:
        values: Any = get_args(hint)
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        values = [member.value for member in hint]
    else:
        return None
    kinds = set(map(type, values))
    kind = kinds.pop() if len(kinds) == 1 else None
    return kind if kind in (*_SCALARS, str) else None


def _content_slot(hint: Any, field: Field, content_type: str, registry: Registry) -> Slot:
    codec = registry.named(content_type)
    if isinstance(codec, ElementCodec):
        return ElementSlot(codec, get_origin(hint) is list, registry)
    return ArraySlot(codec, field.datatype, field.shape)


def _array_slot(hint: Any, codec: NumpyCodec | TorchCodec, field: Field) -> ArraySlot:
    datatype, shape, text = field.datatype, field.shape, False
    if datatype is not None:
        datatype_named(datatype)
    arguments = get_args(hint)
    if len(arguments) == 2:  # numpy.ndarray[shape, numpy.dtype[kind]]
        sizes = get_args(arguments[0])
        if shape is None and sizes and Ellipsis not in sizes:
            shape = tuple(-1 for _ in sizes)
        kinds = get_args(arguments[1])
        if datatype is None and kinds and isinstance(kinds[0], type):
            datatype = _datatype_of(kinds[0])
            text = kinds[0] is np.str_
    return ArraySlot(codec, datatype, shape, own=field.writable, text=text)


def _datatype_of(kind: type) -> str | None:
    """Of elements; None: any, as of NumPy's abstract kinds, or of times, which are text."""
    if kind in _KINDS or not issubclass(kind, np.generic):
        return None
    try:
        return name_of(np.dtype(kind))
    except InvalidResultError as error:
        raise UnservableError(str(error)) from None


def _number(hint: Any) -> tuple[type, int] | None:
    """bool, int or float and how many lists are around it."""
    depth = 0
    while get_origin(hint) is list and (items := get_args(hint)):  # none: typing's bare List
        (hint,) = items
        depth += 1
    found = next((kind for kind in _SCALARS if hint is kind), None)
    return None if found is None else (found, depth)


def is_record(hint: Any) -> bool:
    """Whether values of this annotation have named fields."""
    return isinstance(hint, type) and (
        is_typeddict(hint)
        or dataclasses.is_dataclass(hint)
        or issubclass(hint, msgspec.Struct)
        or hasattr(hint, "model_fields")
        or hasattr(hint, "_fields")
    )


def is_root(hint: Any) -> bool:
    """Whether values of this annotation are, but in Python, what their one field holds."""
    return bool(getattr(hint, "__pydantic_root_model__", False))


def unread_field(hint: Any, seen: frozenset[Any] = frozenset()) -> str:
    """The place in a record, as `Class.field`, of a Field that nobody reads there: msgspec, other
    than pydantic, knows of it nothing; empty if there is none."""
    if uses_pydantic(hint):
        return ""
    if not is_record(hint):
        return next(filter(None, (unread_field(kind, seen) for kind in get_args(hint))), "")
    kinds = {} if hint in seen else get_type_hints(hint, include_extras=True)
    for name, kind in kinds.items():
        bare, field, _ = split_hint(kind)
        said = (field.datatype, field.shape, field.content_type) != (None, None, None)
        if said or any(is_mark(rule) and constrain((rule,)) for rule in rules_of(kind)):
            return f"{hint.__name__}.{name}"
        found = unread_field(bare, seen | {hint})
        if found:
            return found
    return ""


def record_fields(hint: Any) -> list[tuple[str, str, Any]]:
    """Of a record that holds arrays or images each field is a tensor of its own: their names in
    Python and in JSON, and annotations."""
    if not is_record(hint):
        return []
    fields = written_fields(hint) if uses_pydantic(hint) else _plain_fields(hint)
    return fields if any(is_array_like(split_hint(kind)[0]) for _, _, kind in fields) else []


def _plain_fields(hint: Any) -> list[tuple[str, str, Any]]:
    hints = get_type_hints(hint, include_extras=True)
    if dataclasses.is_dataclass(hint):
        hints = {field.name: hints[field.name] for field in dataclasses.fields(hint)}
    return [(name, name, kind) for name, kind in hints.items()]
