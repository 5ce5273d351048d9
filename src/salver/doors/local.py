"""Requests that a door answers by itself, body and all: in the place of a router, no replica."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from salver.doors.errors import render
from salver.wire.frames import CHUNK, END

if TYPE_CHECKING:
    from salver.calls.call import Call
    from salver.doors.body import Flow
    from salver.doors.head import Head
    from salver.doors.http import HttpCall

__all__ = ("Answer", "Local")

_logger: Final = logging.getLogger("salver.ingress")
_MAX_BODY: Final = 64 << 20
_WINDOW: Final = 8  # pieces of a body that are let in at a time


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    text: str = ""
    content_type: str = "application/json"
    more: tuple[tuple[str, str], ...] = ()


class Local:
    """`answer(head, body)` is called in a task for every request that comes here."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        answer: Callable[[Head, bytes], Awaitable[Answer]],
    ) -> None:
        self._loop = loop
        self._answer = answer
        self._tasks: dict[Call, asyncio.Task[None]] = {}

    def submit(self, call: Call) -> None:
        """Take a request, as a router would."""
        call.router = cast("Any", self)
        task = self._tasks[call] = self._loop.create_task(self._serve(cast("HttpCall", call)))
        task.add_done_callback(lambda _: self._tasks.pop(call, None))

    def cancel(self, call: Call) -> None:
        """Nobody waits for it any more."""
        task = self._tasks.pop(call, None)
        if task is not None:
            task.cancel()

    async def _serve(self, call: HttpCall) -> None:
        head, door = call.head, call.conn.door
        try:
            answer = await self._answer(head, await _body_of(call))
        except Exception:  # boundary: a mistake of ours ends one request, and the log has it
            _logger.exception("Could not answer %s", head.path)
            answer = Answer(500, '{"error":"Internal Server Error"}')
        reply = render(
            answer.status,
            answer.text,
            head.request_id or door.new_request_id(),
            close=head.close or door.draining,
            bodiless=head.method == b"HEAD",
            content_type=answer.content_type,
            more=answer.more,
        )
        call.answered(0, reply)


async def _body_of(call: HttpCall) -> bytes:
    head = call.head
    if call.flow is not None:
        return await _Inlet(call, call.flow).read()
    if call.slab is not None:
        return bytes(call.slab.view[: head.length])
    return call.payload[len(head.raw) :]


class _Inlet:
    """Takes the place of a link to a replica: what a flow sends there is gathered."""

    def __init__(self, call: HttpCall, flow: Flow) -> None:
        self.conn = self
        self._call = call
        self._pieces: list[bytes] = []
        self._size = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flow.to(cast("Any", self), 0)

    async def read(self) -> bytes:
        self._call.credit(_WINDOW)
        await self._done
        return b"".join(self._pieces)

    def send(self, kind: int, _flags: int, _aux: int, _call_id: int, payload: bytes = b"") -> None:
        if kind == CHUNK and self._size <= _MAX_BODY:
            self._pieces.append(payload)
            self._size += len(payload)
            self._call.credit(1)
        elif kind == END and not self._done.done():
            self._done.set_result(None)
