"""The entry point of the gRPC door's process, which the keeper knows by name."""

from __future__ import annotations

import ctypes
from importlib import import_module
from typing import TYPE_CHECKING, Final

import uvloop

from salver.telemetry.logging import Speaker, configure

if TYPE_CHECKING:
    from salver.engine.seat import Seat

__all__ = ("main",)

# Loaded after the fork: grpc must not be there before.
_SERVER: Final = "salver.doors.grpc.server"
# Of glibc's mallopt: parameter -> bytes.
_KEPT: Final = {-3: 32 << 20, -1: 64 << 20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def main(seat: Seat) -> None:
    """Serve until SIGTERM; then answer what is under way, and end."""
    configure(seat.logging, Speaker("ingress", seat.id))
    _keep_memory()
    uvloop.run(import_module(_SERVER).serve(seat))


def _keep_memory() -> None:
    """Have malloc keep some of what large messages have needed.

    grpc copies each of them several times; to be given new memory for that costs as much as all the
    rest of a call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, size in _KEPT.items():
            mallopt(parameter, size)
