"""`CapacityQueue`: the deployment actor that programs with a `CapacityQueueRouter` name."""

from __future__ import annotations

__all__ = ("CapacityQueue",)


class CapacityQueue:
    """In Ray Serve it gives out tokens for free places at replicas.

    Here replicas hold every caller to `max_ongoing_requests` themselves, and nobody asks it: it is
    there so that programs which make one run as they are.
    """

    def __init__(self, acquire_timeout_s: float = 0.0, token_ttl_s: float = 0.0) -> None:
        self.acquire_timeout_s = acquire_timeout_s
        self.token_ttl_s = token_ttl_s
