"""From an error of msgspec's to what users are told: where, what was given, what was expected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import EnumType
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from salver.spec.structs import fields_of

__all__ = ("Mistake", "alternatives", "mistake", "spelled", "struct_in", "unknown")

Path = tuple[str | int, ...]

_AT: Final = re.compile(r" - at (`key` in )?`\$(.*)`$")
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`$")
_MISSING: Final = re.compile(r"Object missing required field `(.*)`$")
_QUOTED: Final = re.compile(r"`([^`]*)`")
_JSON: Final = re.compile(r"\b(object|array|null)\b")
_PYTHON: Final = {"object": "dict", "array": "list", "null": "None"}


class Mistake(NamedTuple):
    """What is wrong in a value: at which path of it, what is there, and what is said of that."""

    path: Path
    given: Any
    said: str  # without a full stop
    error: type[TypeError | ValueError]

    @property
    def sentence(self) -> str:
        """What is said, with its end."""
        return self.said if self.said.endswith("?") else f"{self.said}."


def mistake(error: msgspec.ValidationError, value: Any, kind: Any) -> Mistake:
    """What went wrong when this value was converted to this type."""
    text, of_key = str(error), False
    path: Path = ()
    if found := _AT.search(text):
        text, of_key = text[: found.start()], found[1] is not None
        path, value, kind = _follow(found[2], value, kind)
    wrong = TypeError if ", got" in text and value is not None else ValueError
    said = _said(text, kind)
    return Mistake(path, value, f"{said} as a key" if of_key else said, wrong)


def _follow(steps: str, value: Any, kind: Any) -> tuple[Path, Any, Any]:
    """As far as the steps can be told; of a dict msgspec says only that it is one of its values."""
    path: list[str | int] = []
    for name, index, _ in _STEP.findall(steps):
        step = name or (int(index) if index else _guilty(value, _inner(kind, "")))
        try:
            value = getattr(value, name) if isinstance(value, msgspec.Struct) else value[step]
        except (AttributeError, LookupError, TypeError):
            break
        kind = _inner(kind, step)
        path.append(step)
    return tuple(path), value, kind


def _guilty(value: Any, kind: Any) -> Any:
    for key, item in value.items() if isinstance(value, Mapping) else ():
        try:
            msgspec.convert(item, kind)
        except msgspec.ValidationError:
            return key
    return None


def _inner(kind: Any, step: str | int) -> Any:
    """The type of what is in a struct, a list or a dict of this type."""
    if (struct := struct_in(kind)) is not None:
        field = fields_of(struct).get(str(step))
        return field.type if field is not None else Any
    parts = [part for one in alternatives(kind) for part in get_args(one) if part is not ...]
    return parts[-1] if parts else Any


def _said(text: str, kind: Any) -> str:
    if choices := _choices(kind):
        return f"expected one of {', '.join(map(repr, choices))}"
    if (found := _UNKNOWN.match(text)) and (struct := struct_in(kind)) is not None:
        return unknown(found[1], struct.__struct_fields__, "one of its keys").rstrip(".")
    if found := _MISSING.match(text):
        return f"{found[1]} is missing"
    if not text.startswith("Expected"):
        return text.rstrip(".")  # said by a class of ours
    text = _QUOTED.sub(lambda quoted: _JSON.sub(lambda word: _PYTHON[word[0]], quoted[1]), text)
    return text[:1].lower() + text[1:]


def _choices(kind: Any) -> list[Any]:
    """What an enum or a Literal allows; empty: other things are allowed, too."""
    choices: list[Any] = []
    for one in alternatives(kind):
        if isinstance(one, EnumType):
            members: list[Any] = list(one)
            choices += [member.value for member in members]
        elif get_origin(one) is Literal:
            choices += get_args(one)
        elif one is not NoneType:
            return []
    return choices


def struct_in(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct in `Struct | None`, annotated or not."""
    kinds = alternatives(kind)
    structs = [one for one in kinds if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    return structs[0] if len(structs) == 1 else None


def alternatives(kind: Any) -> list[Any]:
    """The types of a union, annotated or not; of another type, itself."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        return [inner for one in get_args(kind) for inner in alternatives(one)]
    return [kind]


def spelled(name: str, path: Path) -> str:
    """`http_options['port']`: the place as a program would write it."""
    return name + "".join(f"[{step!r}]" for step in path)


def unknown(name: str, known: Iterable[str], what: str) -> str:
    """The sentence about a name that does not exist; `what` has its article."""
    known = sorted(known)
    near = get_close_matches(name, known, 1)
    hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
    return f"{name!r} is not {what}. {hint}"
