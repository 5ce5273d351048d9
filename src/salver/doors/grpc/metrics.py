"""What the gRPC door tells when it is asked for its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salver.replica.grpc.status import name_of
from salver.telemetry.registry import Family, Kind, family_of

if TYPE_CHECKING:
    from salver.doors.grpc.door import GrpcDoor

__all__ = ("grpc_families",)


def grpc_families(door: GrpcDoor) -> list[Family]:
    """Its calls, by the status that they ended with, and how many are open now."""
    stats = door.stats()
    replies = [((("status", name_of(code)),), float(n)) for code, n in stats.by_code.items()]
    return [
        family_of(
            Kind.COUNTER, "salver_grpc_replies", "Calls that ended, by their status.", replies
        ),
        family_of(
            Kind.GAUGE,
            "salver_grpc_requests_in_flight",
            "Calls under way.",
            [((), float(stats.in_flight))],
        ),
    ]
