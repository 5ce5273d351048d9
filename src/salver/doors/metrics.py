"""What a door tells when it is asked for its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salver.telemetry.registry import Family, Kind, family_of

if TYPE_CHECKING:
    from salver.doors.door import HttpDoor

__all__ = ("door_families",)


def door_families(door: HttpDoor) -> list[Family]:
    """Its requests, by the class of their replies, and what is open now."""
    stats = door.stats()
    replies = [
        ((("status", f"{digit}xx"),), float(count))
        for digit, count in enumerate(stats.by_class)
        if 1 <= digit <= 5
    ]
    return [
        family_of(
            Kind.COUNTER, "salver_http_replies", "Replies, by the class of their status.", replies
        ),
        family_of(
            Kind.GAUGE,
            "salver_http_requests_in_flight",
            "Requests under way.",
            [((), float(stats.in_flight))],
        ),
        family_of(
            Kind.GAUGE,
            "salver_http_connections",
            "Open connections of clients.",
            [((), float(stats.connections))],
        ),
    ]
