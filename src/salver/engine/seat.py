"""What a forked process is given: who it is, what it may use, and nothing of its siblings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

__all__ = ("Seat",)


class Seat(msgspec.Struct, frozen=True):
    """The one argument of every entry point `main(seat)`."""

    id: str  # also the name in front of its log lines
    kind: str  # "controller", "ingress", "replica"
    instance: str  # the runtime directory: control.sock, secret, replicas' sockets
    labels: dict[str, str] = {}
    fds: dict[str, int] = {}  # ingress: "http"; controller: "control", "keeper"
    settings: dict[str, Any] = {}  # as launch gave them for this kind

    @property
    def control_address(self) -> str:
        """Where everybody dials; the keeper holds it, so it is never refused."""
        return f"unix:{self.instance}/control.sock"

    def secret(self) -> bytes:
        """What proves that a dialler belongs to this instance."""
        return (Path(self.instance) / "secret").read_bytes()
