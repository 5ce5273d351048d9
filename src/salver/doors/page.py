"""A page of this door's own that takes a moment to be made: the client waits as for a replica."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from salver.doors.http import HttpCall

if TYPE_CHECKING:
    from salver.doors.head import Head
    from salver.doors.protocol import HttpProtocol

__all__ = ("PageCall",)

_PATIENCE_S: Final = 10.0
_NO_ANSWER: Final = (
    503,
    "The controller does not answer. It is restarted by itself: try again.",
    "text/plain; charset=utf-8",
)


class PageCall(HttpCall):
    """A request that no replica sees."""

    __slots__ = ("_task",)

    def __init__(
        self, conn: HttpProtocol, head: Head, page: Callable[[], Awaitable[str]], kind: str
    ) -> None:
        super().__init__(conn, head, b"")
        self._task = asyncio.create_task(self._answer(page, kind))

    async def _answer(self, page: Callable[[], Awaitable[str]], kind: str) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = 200, await page(), kind
        except Exception:  # noqa: BLE001 - boundary: whatever kept it, the client is told
            answer = _NO_ANSWER
        self._close()
        if self.conn.call is self:
            self.conn.page_made(self.head, *answer)

    def cancel(self) -> None:
        self._task.cancel()
        super().cancel()

    def outlives_client(self) -> bool:
        return False
