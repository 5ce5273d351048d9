"""The entry point of the gRPC door's process, which the keeper knows by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

import uvloop

from salver.telemetry.logging import Speaker, configure
from salver.wire.malloc import keep_memory

if TYPE_CHECKING:
    from salver.engine.seat import Seat

__all__ = ("main",)

# Loaded after the fork: grpc must not be there before.
_SERVER: Final = "salver.doors.grpc.server"


def main(seat: Seat) -> None:
    """Serve until SIGTERM; then answer what is under way, and end."""
    configure(seat.logging, Speaker("ingress", seat.id))
    keep_memory()  # large messages are put together of what arrives
    uvloop.run(import_module(_SERVER).serve(seat))
