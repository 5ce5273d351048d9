"""`salver.serve.experimental`: ready rules for choosing replicas."""

from __future__ import annotations

from salver.calls.request_router import ConsistentHashRouter, RoundRobinRouter

__all__ = ("ConsistentHashRouter", "RoundRobinRouter")
