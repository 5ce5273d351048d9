"""Something has changed: whoever waits for a state looks again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ("News",)


class News:
    """A condition that can be signalled from plain code of the same loop."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def tell(self) -> None:
        """Wake those for whom it is true now."""
        for true, future in self._waiting:
            if not future.done() and true():
                future.set_result(None)
        self._waiting = [entry for entry in self._waiting if not entry[1].done()]

    async def until(self, true: Callable[[], bool]) -> None:
        """Return as soon as this is true; it is asked now and at all news."""
        if true():
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((true, future))
        await future
