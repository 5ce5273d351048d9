"""`CapacityQueueRouter`: known, and not there."""

from __future__ import annotations

from typing import NoReturn

__all__ = ("CapacityQueueRouter",)


class CapacityQueueRouter:
    """Routes by the tokens of a CapacityQueue. As a request_router_class it is refused by name."""

    def __init_subclass__(cls) -> NoReturn:
        raise NotImplementedError(
            f"{cls.__name__}: CapacityQueueRouter is not there in this version of Salver: the "
            "default router never sends a replica more than max_ongoing_requests. For a rule of "
            "your own subclass salver.serve.request_router.RequestRouter."
        )
