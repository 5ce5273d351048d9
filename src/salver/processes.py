"""Every kind of process and where it begins. The keeper imports them in this order, and forks."""

from __future__ import annotations

from typing import Final

__all__ = ("GRPC", "PROCESSES")

PROCESSES: Final = {
    "controller": "salver.control.main:main",
    "ingress": "salver.doors.server:main",
    "replica": "salver.replica.main:main",
}
# Only where it is asked for.
GRPC: Final = {"grpc": "salver.doors.grpc.main:main"}
