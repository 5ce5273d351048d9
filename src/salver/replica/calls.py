"""One caller's connection to this replica, and the calls that run for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from salver.calls.context import CallContext, current_call, unpack_meta
from salver.errors import RequestCancelledError, SalverError, WireError
from salver.replica.roots import root_of
from salver.replica.upload import Upload
from salver.wire.frames import (
    BODY,
    CANCEL,
    CHUNK,
    CREDIT,
    END,
    ERR,
    GRPC,
    HTTP,
    INITIAL_CREDIT,
    LARGE,
    META,
    NAME,
    READY,
    REJECT,
    REQ,
    UNNUMBERED,
    chunk_cost,
)
from salver.wire.payload import Segments, dump_error

if TYPE_CHECKING:
    from salver.replica.host import Host
    from salver.replica.stream import ByteStream
    from salver.wire.connection import Connection

__all__ = ("Caller", "ServedCall")

_COUNT_MAX: Final = 0xFFFF
_BODY_TYPES: Final = (CHUNK, END)
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
        self.finish()
        if not self.cancelled:
            conn, count = self.caller.conn, min(self.caller.host.ongoing, _COUNT_MAX)
            conn.send(REJECT, 0, count, self.call_id)
            conn.send(READY, 0, count, 0)

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
        return self.caller.host.state

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
        self.finish()
        if not self.cancelled:
            caller = self.caller
            count = min(caller.host.ongoing, _COUNT_MAX)
            if parts or large:
                caller.conn.send_parts(type, flags, count, self.call_id, payload, parts)
            else:
                caller.conn.send(type, flags, count, self.call_id, payload)

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


class Caller:
    """Takes the frames of one connection. A `wire` FrameHandler."""

    conn: Connection

    def __init__(self, host: Host) -> None:
        self.host = host
        self.calls: dict[int, ServedCall] = {}
        self.names: dict[int, str] = {0: "__call__"}
        self.unnumbered: dict[int, str] = {}  # names of calls that are about to come

    def opened(self, conn: Connection) -> None:
        self.conn = conn
        self.peer = conn.peer.name if conn.peer is not None else ""
        self.host.joined(self)

    def frame(
        self,
        conn: Connection,  # noqa: ARG002
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        if type == REQ:
            self._request(flags, aux, call_id, payload)
        elif type == CREDIT:
            call = self.calls.get(call_id)
            if call is not None:
                call.credit += aux
                call.wake()
        elif type == CANCEL:
            self._cancel(call_id)
        elif type in _BODY_TYPES:
            call = self.calls.get(call_id)
            if call is not None and call.upload is not None:
                if type == END:
                    call.upload.end()
                else:
                    call.upload.feed(_joined(payload))
        elif type == NAME:
            self._learn(aux, call_id, _joined(payload).decode())
        else:
            raise WireError(f"A frame of type {type} from a caller, who may not send it.")

    def _learn(self, number: int, call_id: int, name: str) -> None:
        if number == UNNUMBERED:
            self.unnumbered[call_id] = name
        else:
            self.names[number] = name

    def _cancel(self, call_id: int) -> None:
        self.unnumbered.pop(call_id, None)
        call = self.calls.get(call_id)
        if call is not None:
            call.cancel()

    def closed(self, conn: Connection, error: Exception | None) -> None:  # noqa: ARG002
        self.cancel_all()
        self.host.left(self)

    def cancel_all(self) -> None:
        """Stop everything that runs for this caller."""
        for call in list(self.calls.values()):
            call.cancel()

    def writable(self, conn: Connection) -> None:  # noqa: ARG002
        for call in list(self.calls.values()):
            call.wake()

    def _request(self, flags: int, aux: int, call_id: int, payload: bytes | Segments) -> None:
        host = self.host
        if host.ongoing >= host.limit:
            self.unnumbered.pop(call_id, None)
            host.refuse(self)
            self.conn.send(REJECT, 0, min(host.ongoing, _COUNT_MAX), call_id)
            return
        if flags & META:
            context, payload = _with_meta(payload)
            context.peer, context.call_id = self.peer, call_id
            if not context.app:
                context.app, context.route = host.app, host.route
        else:
            context = CallContext("", host.app, host.route, "", "", self.peer, call_id)
        host.ongoing += 1  # not before its meta was read: what cannot be read holds no slot
        host.calls += 1
        call = self.calls[call_id] = host.call_type(self, flags, call_id, context)
        space = host.base.copy()
        space.run(current_call.set, context)
        if flags & HTTP:
            if isinstance(payload, bytes):
                call.head = payload[:aux]
                call.payload = payload[aux:]
            else:
                call.head = payload.inline[:aux]
                call.payload = _body(payload, aux)
            if flags & BODY:
                call.upload = Upload(call)
            context.head = call.head
            host.serve_http(call, space)
        else:
            call.payload = payload
            name = self.names.get(aux)
            if name is None:
                name = self.unnumbered.pop(call_id, None)
            call.name = name
            if flags & GRPC:
                host.grpc(call, name or "", space)
            else:
                host.serve_call(call, name, space)


def _with_meta(payload: bytes | Segments) -> tuple[CallContext, bytes | Segments]:
    inline = payload if isinstance(payload, bytes) else payload.inline
    meta, end = unpack_meta(inline)
    context = CallContext(meta.request_id, meta.app, meta.route, meta.model_id, meta.session_id)
    if isinstance(payload, bytes):
        return context, payload[end:]
    return context, Segments(inline[end:], payload.buffers)


def _joined(payload: bytes | Segments) -> bytes:
    if isinstance(payload, bytes):
        return payload
    return b"".join((payload.inline, *payload.buffers))


def _body(payload: Segments, head: int) -> bytes | memoryview:
    rest = payload.inline[head:]
    if len(payload.buffers) == 1 and not rest:
        return payload.buffers[0]
    if not payload.buffers:
        return rest
    return b"".join((rest, *payload.buffers))
