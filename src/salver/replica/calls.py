"""A call that a replica has let in: what its code asks of it, and how it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from salver.calls.context import CallContext
from salver.errors import RequestCancelledError, SalverError
from salver.replica.roots import root_of
from salver.replica.upload import Upload
from salver.wire.frames import (
    CHUNK,
    ERR,
    INITIAL_CREDIT,
    LARGE,
    REJECT,
    chunk_cost,
)
from salver.wire.payload import dump_error

if TYPE_CHECKING:
    from salver.replica.caller import Caller
    from salver.replica.stream import ByteStream

__all__ = ("COUNT_MAX", "ServedCall")

COUNT_MAX: Final = 0xFFFF  # what a frame's `aux` can say of the calls under way
_PATIENCE_S: Final = 10.0


class ServedCall:
    """One call that has been let in: it holds a slot of the replica until it has ended."""

    __slots__ = (
        "call_id",
        "caller",
        "cancelled",
        "context",
        "credit",
        "ended",
        "flags",
        "gone",
        "head",
        "name",
        "outlet",
        "patient",
        "payload",
        "started",
        "status",
        "task",
        "upload",
        "waiter",
    )

    name: str | None  # of the method, where a handle calls

    def __init__(self, caller: Caller, flags: int, call_id: int, context: CallContext) -> None:
        self.caller = caller
        self.flags = flags
        self.call_id = call_id
        self.context = context
        self.credit = INITIAL_CREDIT
        self.task: asyncio.Task[None] | None = None
        self.upload: Upload | None = None
        self.waiter: asyncio.Future[None] | None = None
        self.gone: asyncio.Event | None = None
        self.outlet: ByteStream | None = None
        self.payload: Any = b""  # what follows the meta; for HTTP: the body
        self.head = b""
        self.started = False
        self.cancelled = False
        self.patient = False  # it is told that the caller is gone, and given time to leave
        self.ended = False
        self.status = 0  # of the HTTP reply, once it has begun; of gRPC's answer

    def begin(self) -> bool:
        """User code of this call begins now: should we die from here on, it is not repeated.

        Called by whoever runs it, the loop or a thread, as the last thing before that code: what
        has only been let in, and waits for its turn, may be done by another replica. False: that
        has happened, as we were held up; then `withdraw` it.
        """
        return self.caller.conn.board_begun(self.call_id)

    def withdraw(self) -> None:
        """Another replica does it: tell the caller that there is room here, and that we live."""
        self.caller.host.withdrawn += 1
        self.finish()
        if not self.cancelled:
            conn, count = self.caller.conn, min(self.caller.host.ongoing, COUNT_MAX)
            conn.send(REJECT, 0, count, self.call_id)
            self.caller.host.look_for_room(self.caller)

    # ---- what the request's side wants to know (http_request.Incoming)

    @property
    def root_path(self) -> str:
        roots = self.caller.host.roots
        return roots[0] if len(roots) == 1 else root_of(self.head, roots)

    @property
    def secure(self) -> bool:
        return self.caller.host.secure

    @property
    def state(self) -> dict[str, Any] | None:
        return self.caller.host.object.state

    async def next_body(self) -> dict[str, Any]:
        """The next ASGI message about the request."""
        upload = self.upload
        if self.cancelled:
            return {"type": "http.disconnect"}
        if upload is not None:
            piece = await upload.read()
            if piece or not self.cancelled:
                more = not upload.complete
                if not more:
                    self.upload = None
                    self.payload = None
                return {"type": "http.request", "body": piece, "more_body": more}
        elif self.payload is not None:
            body, self.payload = self.payload, None
            whole = body if type(body) is bytes else bytes(body)
            return {"type": "http.request", "body": whole, "more_body": False}
        if not (self.cancelled or self.ended):
            if self.gone is None:
                self.gone = asyncio.Event()
            await self.gone.wait()
        return {"type": "http.disconnect"}

    # ---- answers

    def end(
        self,
        type: int,  # noqa: A002
        flags: int,
        payload: bytes,
        parts: Sequence[Any] = (),
        *,
        large: bool = False,
    ) -> None:
        """The last frame of this call; frees its slot."""
        if self.ended:
            return
        if parts or large:
            self._end_large(type, flags, payload, parts)
            return
        self.finish()
        if not self.cancelled:
            caller = self.caller
            count = min(caller.host.ongoing, COUNT_MAX)
            caller.conn.send(type, flags, count, self.call_id, payload)

    def _end_large(
        self,
        type: int,  # noqa: A002
        flags: int,
        payload: bytes,
        parts: Sequence[Any],
    ) -> None:
        caller = self.caller
        wait = (caller.held or caller.conn.crowded) and not self.cancelled
        if wait:
            caller.hold(self.call_id, (type, flags, payload, parts))
        self.finish()
        if not (wait or self.cancelled):
            count = min(caller.host.ongoing, COUNT_MAX)
            caller.conn.send_parts(type, flags, count, self.call_id, payload, parts)

    def chunk(self, data: bytes, buffers: Sequence[Any]) -> None:
        """One item of a stream; the caller of this has seen that there is credit."""
        self.credit -= chunk_cost(len(data) + sum(buffer.nbytes for buffer in buffers))
        conn = self.caller.conn
        if buffers or len(data) >= LARGE:
            conn.send_parts(CHUNK, 0, 0, self.call_id, data, buffers)
        else:
            conn.send(CHUNK, 0, 0, self.call_id, data)

    def fail(self, error: BaseException) -> None:
        """Answer with the error; as the end of a stream, too."""
        if not isinstance(error, Exception):  # SystemExit and its like end nobody else's process
            error = SalverError(f"{type(error).__name__}: {error}")
        self.caller.host.errors += 1
        self.end(ERR, 0, dump_error(error))

    def finish(self) -> None:
        """The slot is free again."""
        if not self.ended:
            self.ended = True
            self.caller.calls.pop(self.call_id, None)
            if self.gone is not None:
                self.gone.set()
            if self.context.endings is not None:
                self._tell_endings()
            self.caller.host.release()

    def _tell_endings(self) -> None:
        """Now, or when its task has ended: it may have more to do after its answer."""
        task, context = self.task, self.context
        if task is None or task.done():
            context.over()
        else:
            task.add_done_callback(lambda _: context.over())

    # ---- flow

    @property
    def blocked(self) -> bool:
        return self.credit <= 0 or self.caller.conn.paused

    async def room(self) -> bool:
        """Wait until the caller takes more of the stream; False when it is gone."""
        while not self.cancelled and (self.credit <= 0 or self.caller.conn.paused):
            self.waiter = self.caller.host.loop.create_future()
            await self.waiter
        return not self.cancelled

    def wake(self) -> None:
        """The caller may take more of the stream."""
        if self.outlet is not None:
            self.outlet.refilled()
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def cancel(self) -> None:
        """Nobody waits for the answer: stop the work, and what it started elsewhere."""
        if self.cancelled or self.ended:
            return
        self.cancelled = True
        self.caller.calls.pop(self.call_id, None)
        self.context.cancel_children()
        if self.upload is not None:
            self.upload.end()
        if self.gone is not None:
            self.gone.set()
        self.wake()
        if self.patient and self.task is not None:
            self.caller.host.loop.call_later(_PATIENCE_S, self.task.cancel)
        elif self.task is not None:
            if not self.started:  # a task cancelled before its first step runs none of its code
                self.finish()
            self.task.cancel()

    def interrupted(self) -> None:
        """Its task was cancelled; by the caller, or by the user's own code."""
        if self.cancelled:
            self.finish()
        else:
            self.fail(RequestCancelledError(self.context.request_id))
