"""The one reader of the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from math import nan
from pathlib import Path

import msgspec

__all__ = ("Settings", "visible_gpus")

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class Settings:
    """What the environment may decide. Command line and arguments come first."""

    http_host: str = "127.0.0.1"
    http_port: int = 8000
    log_level: str = "INFO"
    cache_dir: str = ""  # of what is made once and kept, such as the packages of an app
    local_testing: bool = False
    session_id_header: str = "x-session-id"
    autoscaling_stats_timeout_s: float = 10.0  # for one answer of `record_autoscaling_stats`
    prometheus_host: str = ""  # whom users' autoscaling policies ask
    prometheus_headers: tuple[tuple[str, str], ...] = ()
    ray_variables: tuple[str, ...] = ()  # those of Ray Serve's that are set, whatever they mean

    @classmethod
    def read(cls) -> Settings:
        """From SALVER_HTTP_HOST, SALVER_HTTP_PORT, SALVER_LOG_LEVEL, SALVER_CACHE_DIR, and what
        `spec/variables.py` has of Ray Serve's."""
        get = os.environ.get
        return cls(
            http_host=get("SALVER_HTTP_HOST")
            or get("RAY_SERVE_DEFAULT_HTTP_HOST")
            or cls.http_host,
            http_port=_port(get("SALVER_HTTP_PORT", str(cls.http_port))),
            log_level=_level(get("SALVER_LOG_LEVEL", cls.log_level)),
            cache_dir=get("SALVER_CACHE_DIR") or _cache_dir(get("XDG_CACHE_HOME")),
            local_testing=get("RAY_SERVE_FORCE_LOCAL_TESTING_MODE", "0") == "1",
            session_id_header=_header(get("RAY_SERVE_SESSION_ID_HEADER_KEY"))
            or cls.session_id_header,
            autoscaling_stats_timeout_s=_seconds(
                "RAY_SERVE_RECORD_AUTOSCALING_STATS_TIMEOUT_S", cls.autoscaling_stats_timeout_s
            ),
            prometheus_host=get("RAY_PROMETHEUS_HOST", ""),
            prometheus_headers=_headers(get("RAY_PROMETHEUS_HEADERS") or "{}"),
            ray_variables=tuple(name for name in os.environ if name.startswith("RAY_SERVE_")),
        )


def visible_gpus() -> list[str]:
    """The GPUs that this process may see, as CUDA is told: none where nothing is said."""
    return [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]


def _level(text: str) -> str:
    if text.upper() in _LEVELS or text.isdecimal():
        return text.upper()
    raise ValueError(
        f"SALVER_LOG_LEVEL={text!r} is not a level: expected one of {', '.join(_LEVELS)}, or a "
        "number. Set it right, or unset it to use INFO."
    )


def _cache_dir(home: str | None) -> str:
    return str((Path(home) if home else Path.home() / ".cache") / "salver")


def _header(text: str | None) -> str:
    if not text or re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", text, re.ASCII):
        return text or ""
    raise ValueError(
        f"RAY_SERVE_SESSION_ID_HEADER_KEY={text!r} is not the name of a header. Set it right, or "
        "unset it to use x-session-id."
    )


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    try:
        given = msgspec.json.decode(text, type=dict[str, str] | list[tuple[str, str]])
    except msgspec.DecodeError:
        raise ValueError(
            f"RAY_PROMETHEUS_HEADERS={text!r} is not valid: expected JSON such as "
            '{"Authorization": "Bearer ..."}, or a list of pairs. Set it right, or unset it.'
        ) from None
    return tuple(given.items() if isinstance(given, dict) else given)


def _seconds(name: str, default: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        seconds = float(text)
    except ValueError:
        seconds = nan
    if seconds > 0:
        return seconds
    raise ValueError(
        f"{name}={text!r} is not a time: expected seconds, more than 0. "
        f"Set it right, or unset it to use {default:g}."
    )


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise ValueError(
        f"SALVER_HTTP_PORT={text!r} is not a port: expected a number from 0 to 65535. "
        "Set it right, or unset it to use 8000."
    )
