"""Every setting of the logs, once: form, level, place, and whether each request has its line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from salver.spec.fields import check_names
from salver.spec.mistakes import unknown
from salver.spec.model import ConfigModel

__all__ = ("EncodingType", "LoggingConfig", "read_logging")

_MORE: Final = "additional_log_standard_attrs"
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# Of a log record: what the standard library says of each besides the message.
_ATTRIBUTES: Final = (
    "created", "exc_text", "filename", "funcName", "levelname", "levelno", "lineno", "module",
    "msecs", "name", "pathname", "process", "processName", "relativeCreated", "stack_info",
    "taskName", "thread", "threadName",
)  # fmt: skip


class EncodingType(StrEnum):
    """The form of log lines."""

    TEXT = "TEXT"
    JSON = "JSON"


class LoggingConfig(ConfigModel, kw_only=True):
    """How processes log.

    Args:
        encoding: "TEXT", or "JSON" for one object per line.
        log_level: what is less important is not logged; a name or a number.
        logs_dir: a directory in which every process has a file, besides its lines on stderr.
        enable_access_log: a line for each request. Ray Serve's default is True; here it is False,
            for a line costs more than a small request does.
        additional_log_standard_attrs: attributes of Python's log records to show as well.
    """

    encoding: EncodingType = EncodingType.TEXT
    log_level: str = "INFO"
    logs_dir: str | None = None
    enable_access_log: bool = False
    additional_log_standard_attrs: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """The constructor checks what users give it; numbers and lists become what is kept."""
        change = msgspec.structs.force_setattr
        change(self, "encoding", _encoding(self.encoding))
        change(self, "log_level", _level(self.log_level))
        change(self, _MORE, _attributes(self.additional_log_standard_attrs))
        if self.logs_dir is not None and (not isinstance(self.logs_dir, str) or not self.logs_dir):
            raise ValueError(f"logs_dir={self.logs_dir!r} is not valid: expected a path, or None.")
        if not isinstance(self.enable_access_log, bool):
            raise TypeError(
                f"enable_access_log={self.enable_access_log!r} is not valid: expected a bool."
            )


def read_logging(given: object, name: str = "logging_config") -> LoggingConfig | None:
    """What `logging_config` may be: None, a dict, or LoggingConfig.

    TypeError: neither of them, or an unknown key. ValueError: a wrong value.
    """
    if given is None or isinstance(given, LoggingConfig):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            f'{name}={given!r} is not valid: expected a dict such as {{"log_level": "DEBUG"}}, or '
            "LoggingConfig."
        )
    check_names(LoggingConfig, given, f"a key of {name}")
    return LoggingConfig(**given)


def _encoding(given: object) -> EncodingType:
    try:
        return EncodingType(given)  # type: ignore[arg-type]
    except ValueError:
        raise ValueError(f"encoding={given!r} is not valid: expected 'TEXT' or 'JSON'.") from None


def _level(given: object) -> str:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return logging.getLevelName(given) if given in _numbers() else str(given)
    if isinstance(given, str) and (given.upper() in _LEVELS or given.isdecimal()):
        return given.upper()
    raise ValueError(
        f"log_level={given!r} is not valid: expected one of {', '.join(_LEVELS)}, or a number."
    )


def _numbers() -> set[int]:
    return {getattr(logging, name) for name in _LEVELS}


def _attributes(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) for name in given):
        raise TypeError(
            f"additional_log_standard_attrs={given!r} is not valid: expected a list of names."
        )
    for name in given:
        if name not in _ATTRIBUTES:
            raise ValueError(unknown(name, _ATTRIBUTES, "an attribute of Python's log records"))
    return tuple(dict.fromkeys(given))
