"""`RoundRobinRouter`: one replica after the other."""

from __future__ import annotations

from salver.calls.request_router import RoundRobinRouter

__all__ = ("RoundRobinRouter",)
