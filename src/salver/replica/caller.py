"""One caller's connection to this replica: frames in, calls begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from salver.calls.context import CallContext, current_call, unpack_meta
from salver.errors import WireError
from salver.replica.calls import COUNT_MAX, ServedCall
from salver.replica.upload import Upload
from salver.wire.frames import (
    BODY,
    CANCEL,
    CHUNK,
    CREDIT,
    END,
    GRPC,
    HTTP,
    META,
    NAME,
    REJECT,
    REQ,
    UNNUMBERED,
)
from salver.wire.payload import Segments

if TYPE_CHECKING:
    from salver.replica.host import Host
    from salver.wire.connection import Connection

__all__ = ("Caller",)

_BODY_TYPES: Final = (CHUNK, END)
_Answer: TypeAlias = tuple[int, int, bytes, Sequence[Any]]  # type, flags, payload, parts


class Caller:
    """Takes the frames of one connection. A `wire` FrameHandler."""

    conn: Connection

    def __init__(self, host: Host) -> None:
        self.host = host
        self.calls: dict[int, ServedCall] = {}
        self.narrow = False  # it was turned away, and has not heard since that there is room
        self.names: dict[int, str] = {0: "__call__"}
        self.unnumbered: dict[int, str] = {}  # names of calls that are about to come
        self.held: dict[int, _Answer] = {}  # by call, until those before them have been taken

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
        elif self.held.pop(call_id, None) is not None:
            self.host.release()

    def closed(self, conn: Connection, error: Exception | None) -> None:  # noqa: ARG002
        self.cancel_all()
        self.host.left(self)

    def cancel_all(self) -> None:
        """Stop everything that runs for this caller."""
        for call in list(self.calls.values()):
            call.cancel()
        while self.held:
            self.held.popitem()
            self.host.release()

    def hold(self, call_id: int, answer: _Answer) -> None:
        """Keep a large answer, and its slot, while too much waits to be taken by the caller."""
        kind, flags, payload, parts = answer
        self.host.ongoing += 1  # the call that ends now gives its own back
        self.held[call_id] = kind, flags, payload, [_unchanging(part) for part in parts]

    def writable(self, conn: Connection) -> None:
        while self.held and not conn.crowded:
            call_id = next(iter(self.held))
            kind, flags, payload, parts = self.held.pop(call_id)
            self.host.release()
            count = min(self.host.ongoing, COUNT_MAX)
            conn.send_parts(kind, flags, count, call_id, payload, parts)
        for call in list(self.calls.values()):
            call.wake()

    def _request(self, flags: int, aux: int, call_id: int, payload: bytes | Segments) -> None:
        host = self.host
        if host.ongoing >= host.limit:
            self.unnumbered.pop(call_id, None)
            host.refuse(self)
            self.conn.send(REJECT, 0, min(host.ongoing, COUNT_MAX), call_id)
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
        if self.narrow:  # an answer would say whether there is more room; it may take its time
            host.look_for_room(self)
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


def _unchanging(part: Any) -> Any:
    """The same bytes, which user code may not change any more."""
    return part if isinstance(memoryview(part).obj, bytes) else bytes(part)


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
