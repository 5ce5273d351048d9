"""What launch tells the keeper, once, as JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from salver.spec.logging import LoggingConfig

__all__ = ("KeeperConfig", "Listen")


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address that the keeper listens on; its doors get the socket by `name` in `Seat.fds`."""

    name: str = "http"
    host: str = "127.0.0.1"
    port: int = 8000  # 0: any free one
    backlog: int = 4096


class KeeperConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Three map a kind of process: `entries` to "module:function", `settings` to `Seat.settings`,
    `env` to variables that are set in it.
    """

    instance: str
    entries: dict[str, str]
    listen: tuple[Listen, ...] = (Listen(),)
    ingresses: int = 1
    # Modules imported, and functions ("module:function") called, once in the keeper, for all that
    # it forks.
    preload: tuple[str, ...] = ()
    settings: dict[str, dict[str, Any]] = {}
    env: dict[str, dict[str, str]] = {}
    logging: LoggingConfig = LoggingConfig()  # of every process, until it is told otherwise
    # What may be handed out, declared by the user; None: what the machine has.
    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    resources: dict[str, float] = {}
