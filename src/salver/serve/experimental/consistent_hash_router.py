"""`ConsistentHashRouter`: calls of one session go to one replica."""

from __future__ import annotations

from salver.calls.request_router import ConsistentHashRouter

__all__ = ("ConsistentHashRouter",)
