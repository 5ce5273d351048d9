"""Results as JSON: the bytes that FastAPI's `jsonable_encoder` would lead to, without its price."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import GeneratorType
from typing import Any, Final
from uuid import UUID

import msgspec

__all__ = ("encode", "jsonable")

_encode: Final = msgspec.json.Encoder().encode
_is_scalar: Final = frozenset((str, int, float, bool, type(None))).issuperset
_are_strings: Final = frozenset((str,)).issuperset
_LISTS: Final = (list, tuple)
_MANY: Final = (set, frozenset, deque, GeneratorType, Iterable)


def encode(value: Any) -> bytes:
    """The JSON of any result; NaN and the infinities become null.

    msgspec would write bytes, times and the like in its own way, so what is not made of JSON's own
    types is first turned into them.
    """
    serializer = getattr(type(value), "__pydantic_serializer__", None)
    if serializer is not None and hasattr(value, "model_dump"):
        text: bytes = serializer.to_json(value, by_alias=True)
        return text
    try:
        return _encode(value if _is_plain(value) else jsonable(value))
    except (UnicodeEncodeError, OverflowError):
        # Lone surrogates: JSON can say them, UTF-8 cannot.
        return json.dumps(jsonable(value), separators=(",", ":")).encode()


def _is_plain(value: Any) -> bool:
    """Whether it consists of str keys, JSON scalars, dicts, lists and tuples, and nothing else."""
    kind = type(value)
    if kind is dict:
        if not _are_strings(map(type, value)):
            return False
        members: Iterable[Any] = value.values()
    elif kind in _LISTS:
        members = value
    else:
        return _is_scalar((kind,))
    kinds = set(map(type, members))
    return _is_scalar(kinds) or all(map(_is_plain, members))


def jsonable(value: Any) -> Any:
    """The same value made of dict, list, str, int, float, bool and None only."""
    kind = type(value)
    if _is_scalar((kind,)):
        return value
    if isinstance(value, dict):
        return {_key(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, _LISTS):
        return [jsonable(item) for item in value]
    if isinstance(value, Enum):
        return jsonable(value.value)
    for base in (str, int, float):
        if isinstance(value, base):
            return base(value)
    return _object(value)


def _key(key: Any) -> str:
    plain = jsonable(key)
    if isinstance(plain, str):
        return plain
    if plain is None or isinstance(plain, bool | int | float):
        return json.dumps(plain)
    raise TypeError(f"A JSON object's key must be a string or a number, not {key!r}.")


def _object(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, PurePath | UUID | BaseException):
        return str(value)
    if isinstance(value, re.Pattern):
        return jsonable(value.pattern)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, msgspec.Struct):
        return jsonable(msgspec.structs.asdict(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return _foreign(value)


def _number(value: Decimal) -> int | float:
    exponent = value.as_tuple().exponent
    return int(value) if isinstance(exponent, int) and exponent >= 0 else float(value)


def _foreign(value: Any) -> Any:
    """Objects of other libraries: data frames, arrays, their scalars, addresses; plain objects."""
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    if module == "pandas" and hasattr(value, "to_dict"):
        return jsonable(value.to_dict("records") if value.ndim == 2 else value.to_dict())
    if callable(getattr(value, "tolist", None)):  # numpy, torch, pandas.Index
        return jsonable(value.tolist())
    if module in ("ipaddress", "pydantic", "pydantic_core", "pydantic_extra_types"):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, _MANY):
        return [jsonable(item) for item in value]
    if hasattr(value, "__dict__") and not callable(value):
        return {key: jsonable(item) for key, item in vars(value).items()}
    raise TypeError(
        f"A result of type {kind.__module__}.{kind.__qualname__} has no JSON form. "
        "Return a dict, a list, a pydantic model, a dataclass, str, bytes or a Starlette response."
    )
