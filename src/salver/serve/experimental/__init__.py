"""`salver.serve.experimental`: ready rules for choosing replicas."""

from __future__ import annotations

from salver.calls.request_router import ConsistentHashRouter, RoundRobinRouter
from salver.serve.experimental.capacity_queue import CapacityQueue
from salver.serve.experimental.capacity_queue_router import CapacityQueueRouter

__all__ = ("CapacityQueue", "CapacityQueueRouter", "ConsistentHashRouter", "RoundRobinRouter")
