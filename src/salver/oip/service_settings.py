"""The trace and logging extensions: which settings there are, and changes to them, checked."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from salver.oip.errors import InvalidMessageError, MalformedBodyError

__all__ = (
    "LOG_DEFAULTS",
    "TRACE_DEFAULTS",
    "changed_log",
    "changed_trace",
    "read_changes",
)

Trace: TypeAlias = dict[str, str | list[str]]
Log: TypeAlias = dict[str, bool | int | str]

TRACE_DEFAULTS: Final[Mapping[str, str | list[str]]] = {
    "trace_file": "",
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
}
LOG_DEFAULTS: Final[Mapping[str, bool | int | str]] = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}
_LEVELS: Final = ("OFF", "TIMESTAMPS", "TENSORS")
_LOUDEST: Final = 2**32 - 1  # as much as gRPC has room for
_FORMATS: Final = ("default", "ISO8601")


def read_changes(body: bytes | memoryview) -> dict[str, Any]:
    """The settings that a body names; an empty body names none."""
    try:
        return msgspec.json.decode(bytes(body).strip() or b"{}", type=dict[str, Any])
    except msgspec.ValidationError as error:
        raise InvalidMessageError(str(error), "$") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBodyError(f"no valid JSON: {error}") from None


def changed_trace(
    current: Mapping[str, str | list[str]],
    changes: Mapping[str, Any],
    cleared: Mapping[str, str | list[str]],
) -> Trace:
    """The settings after these changes; null takes back what is in `cleared`."""
    result = dict(current)
    for name, value in changes.items():
        _known(name, TRACE_DEFAULTS)
        if value is None:
            result[name] = cleared[name]
        elif name == "trace_level":
            result[name] = _levels(value)
        elif not isinstance(value, str) or (name != "trace_file" and not _is_count(value)):
            wanted = "a string" if name == "trace_file" else "a number in a string"
            raise InvalidMessageError(f"expected {wanted}, got {value!r:.40}", f"$.{name}")
        else:
            result[name] = value
    return result


def changed_log(current: Mapping[str, bool | int | str], changes: Mapping[str, Any]) -> Log:
    """The settings after these changes; each keeps its type."""
    result = dict(current)
    for name, value in changes.items():
        _known(name, LOG_DEFAULTS)
        wanted = type(LOG_DEFAULTS[name])
        too_far = wanted is int and isinstance(value, int) and not 0 <= value <= _LOUDEST
        if type(value) is not wanted or too_far:
            kind = f"int from 0 to {_LOUDEST}" if wanted is int else wanted.__name__
            raise InvalidMessageError(f"expected {kind}, got {value!r:.40}", f"$.{name}")
        if name == "log_format" and value not in _FORMATS:
            raise InvalidMessageError(
                f"expected one of {', '.join(_FORMATS)}, got {value!r:.40}", f"$.{name}"
            )
        result[name] = value
    return result


def _known(name: str, defaults: Mapping[str, object]) -> None:
    if name not in defaults:
        near = difflib.get_close_matches(name[:40], defaults, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(defaults)}"
        raise InvalidMessageError(f"unknown setting {name!r:.40}; {hint}", "$")


def _levels(value: Any) -> list[str]:
    levels = [value] if isinstance(value, str) else value
    if not isinstance(levels, list) or not levels or not all(level in _LEVELS for level in levels):
        raise InvalidMessageError(
            f"expected some of {', '.join(_LEVELS)}, got {value!r:.40}", "$.trace_level"
        )
    return levels


def _is_count(value: str) -> bool:
    digits = value.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 20
