"""A document held against a Struct: every mistake with its path, not only the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args, get_origin

import msgspec

from salver.spec.document import Document, Path
from salver.spec.mistakes import alternatives, mistake, struct_in, unknown
from salver.spec.structs import fields_of, meaning

__all__ = ("note_mistakes", "note_unknown", "shown")

_SHOWN: Final = 60


def note_mistakes(document: Document, value: Any, struct: type[msgspec.Struct], path: Path) -> None:
    """Note every unknown key, wrong value and missing key of a mapping meant as `struct`."""
    if not isinstance(value, Mapping):
        document.problem(path, f"got {shown(value)}, expected a mapping.")
        return
    fields = fields_of(struct)
    note_unknown(document, value, fields, path)
    for key, item in value.items():
        if key in fields:
            _note_value(document, item, fields[key].type, (*path, key))
    for name, field in fields.items():
        if field.required and name not in value:
            document.problem(path, f"{name} is missing. What it means: {meaning(field.type)}")


def note_unknown(
    document: Document, value: Mapping[str, Any], known: Iterable[str], path: Path
) -> None:
    """Note every key that is not known, with the nearest one that is."""
    names = list(known)
    for key in value:
        if key not in names:
            document.problem((*path, key), unknown(key, names, "a key here"), at_key=True)


def _note_value(document: Document, value: Any, kind: Any, path: Path) -> None:
    inner = struct_in(kind)
    if inner is not None and isinstance(value, Mapping):
        before = len(document.problems)
        note_mistakes(document, value, inner, path)
        if len(document.problems) > before:
            return
    item = _item_struct(kind)
    if item is not None and isinstance(value, list):
        for index, one in enumerate(value):
            note_mistakes(document, one, item, (*path, index))
        return
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        found = mistake(error, value, kind)
        wanted = found.sentence.partition(", got")
        said = f"{wanted[0]}." if wanted[1] else wanted[0]
        document.problem((*path, *found.path), f"got {shown(found.given)}, {said}{_help(kind)}")


def shown(value: Any) -> str:
    """A value as the file's author would know it again, and no longer than a line."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _item_struct(kind: Any) -> type[msgspec.Struct] | None:
    for one in alternatives(kind):
        if get_origin(one) in (list, tuple) and get_args(one):
            return struct_in(get_args(one)[0])
    return None


def _help(kind: Any) -> str:
    means = meaning(kind)
    return f" What it means: {means}" if means else ""
