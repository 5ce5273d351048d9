"""`CapacityQueue`: known, and not there."""

from __future__ import annotations

from typing import NoReturn

__all__ = ("CapacityQueue",)


class CapacityQueue:
    """Gives out tokens for free places at replicas."""

    def __init__(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise NotImplementedError(
            "CapacityQueue is not there in this version of Salver: replicas hold every caller to "
            "max_ongoing_requests themselves, without a process that each call must ask. Leave it "
            "out, and request_router_class=CapacityQueueRouter with it."
        )
