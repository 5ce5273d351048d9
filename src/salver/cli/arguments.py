"""The arguments of a function that builds an app, as the type that it asks for."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from salver.errors import TargetError
from salver.spec.mistakes import mistake, spelled

__all__ = ("as_asked_for",)


def as_asked_for(builder: Any, args: Mapping[str, Any], target: str) -> tuple[Any, ...]:
    """What to call the builder with: nothing, a dict, or what its annotation makes of the dict.

    TargetError: it takes more than one argument, or these do not fit.
    """
    parameters = list(inspect.signature(builder).parameters.values())
    if len(parameters) > 1 or (args and not parameters):
        raise TargetError(
            f"{target!r} takes {len(parameters)} parameters: a function that builds an app takes "
            "one, which holds all arguments (a dict, a dataclass or a pydantic model), or none."
        )
    if not parameters:
        return ()
    kind = typing.get_type_hints(builder).get(parameters[0].name, Any)
    if kind is Any or _is_mapping(kind):
        return (dict(args),)
    known = _fields_of(kind)
    if known is None:
        raise TargetError(
            f"{target!r} asks for {getattr(kind, '__name__', kind)}: the parameter of a function "
            "that builds an app is a dict, a dataclass, a TypedDict or a pydantic model."
        )
    for name in args:
        if known and name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"It takes: {', '.join(sorted(known))}."
            raise TargetError(f"{target!r} takes no argument {name!r}. {hint}")
    return (_converted(kind, dict(args), target),)


def _is_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return origin in (dict, Mapping, typing.Dict)  # noqa: UP006 - users may write it so


def _fields_of(kind: Any) -> set[str] | None:
    """The names that it knows; empty: any name will do; None: it is no holder of arguments."""
    fields = getattr(kind, "model_fields", None)
    if fields is not None:
        if getattr(kind, "model_config", {}).get("extra") == "allow":
            return set()
        aliases = {str(f.validation_alias) for f in fields.values() if f.validation_alias}
        return {*fields, *aliases}
    if dataclasses.is_dataclass(kind):
        return {field.name for field in dataclasses.fields(kind)}
    if typing.is_typeddict(kind):
        return set(kind.__annotations__)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return set(kind.__struct_fields__)
    return None


def _converted(kind: Any, args: dict[str, Any], target: str) -> Any:
    """Numbers may come as text, as on a command line."""
    try:
        if hasattr(kind, "model_validate"):
            return kind.model_validate(args)
        return msgspec.convert(args, kind, strict=False)
    except msgspec.ValidationError as error:
        found = mistake(error, args, kind)
        what = f"{spelled('args', found.path)}={found.given!r}: {found.said}"
        raise TargetError(f"The arguments of {target!r} are not valid: {what}.") from None
    except ValueError as error:  # pydantic's
        raise TargetError(f"The arguments of {target!r} are not valid: {_told(error)}.") from None


def _told(error: Any) -> str:
    """In one line: pydantic's own text has several, and a link."""
    if not hasattr(error, "errors"):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, one['loc'])) or 'together'}: {one['msg']}" for one in error.errors()
    )
