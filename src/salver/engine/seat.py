"""What a forked process is given: who it is, what it may use, and nothing of its siblings."""

from __future__ import annotations

import socket
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from salver.core.ports import Engine
from salver.engine.machine import Machine
from salver.spec.logging import LoggingConfig

__all__ = ("Seat",)


class Seat(msgspec.Struct, frozen=True):
    """The one argument of every entry point `main(seat)`."""

    id: str  # also the name in front of its log lines
    kind: str  # "controller", "ingress", "grpc", "replica"
    instance: str  # the runtime directory: control.sock, secret, replicas' sockets
    labels: dict[str, str] = {}
    fds: dict[str, int] = {}  # ingress: "http"; controller: "control", "keeper"
    settings: dict[str, Any] = {}  # as launch gave them for this kind
    logging: LoggingConfig = LoggingConfig()

    def open_engine(self) -> Engine:
        """For the controller: the engine of this machine, on the running loop."""
        # By name: the keeper, which imports this module first of all, has no use for asyncio.
        local = import_module("salver.engine.local")
        machine = msgspec.convert(self.settings["machine"], Machine)
        engine: Engine = local.LocalEngine(socket.socket(fileno=self.fds["keeper"]), machine)
        return engine

    def secret(self) -> bytes:
        """What proves that a dialler belongs to this instance."""
        return (Path(self.instance) / "secret").read_bytes()
