"""One client connection: HTTP/1.1 in, calls out, rendered replies back, one request at a time.

    READY --head incomplete--> HEAD --small body incomplete--> BODY --.
      |            `--large body--> FILL (into shared memory) --------+--> BUSY --reply--> READY
      `----------------`--larger, chunked or a tunnel--> FLOW --------'      (FLOW, reply done: DROP)

What may be read when, and how long for, is decided here; the bytes of heads, bodies and chunks are
understood in `head.py`, `body.py` and `chunked.py`; replies pass through as the replica wrote them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from salver.client.context import request_id_of
from salver.ingress.body import BodyTooLarge, Fill, Flow
from salver.ingress.chunked import ChunkedError
from salver.ingress.errors import refusal, render, timed_out
from salver.ingress.head import Head, HeadError, looks_wrong
from salver.ingress.http import HttpCall
from salver.wire.frames import CLOSE, LARGE

if TYPE_CHECKING:
    from salver.wire.arena import Slab
    from salver.wire.payload import Segments

    from salver.ingress.door import HttpDoor

__all__ = ("HttpProtocol",)

READY, HEAD, BODY, FILL, FLOW, BUSY, DROP, CLOSING = range(8)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_FILL_LIMIT: Final = 16 << 20  # larger bodies flow
_AHEAD: Final = 64 * 1024  # input kept while a request is under way
_DISCARD: Final = 256 * 1024  # of a body nobody reads, to save the connection
_LINGER_BYTES: Final = 4 << 20  # read and dropped after a refusal, so that the client can read it
_LINGER_S: Final = 2.0


class HttpProtocol(asyncio.BufferedProtocol):
    """Owned by the loop; the door that it belongs to has the settings, routes and counters."""

    __slots__ = (
        "advancing",
        "blocked",
        "body",
        "bucket",
        "call",
        "cutting",
        "deadline",
        "door",
        "head",
        "need",
        "paused",
        "rest",
        "seen",
        "stage",
        "total",
        "transport",
        "unsent",
    )

    def __init__(self, door: HttpDoor) -> None:
        self.door = door
        self.transport = cast("asyncio.Transport", None)
        self.stage = READY
        self.call: HttpCall | None = None  # the client waits for it
        self.head: Head | None = None  # of the request whose body is awaited
        self.body: Fill | Flow | None = None
        self.rest: bytearray | None = None  # arrived, and not yet understood
        self.seen = 0  # how much of it holds no end of a head
        self.need = 0  # how much of it is the request whose body is awaited
        self.paused = False  # reading
        self.blocked = False  # writing
        self.advancing = False
        self.cutting = False
        self.unsent = 0  # what was not taken when writing last blocked; dropped bytes in CLOSING
        self.total = 0.0  # when the request under way has had its time; 0: never
        self.deadline = 0.0
        self.bucket = 0

    # ---- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.door.open(self):
            self.wait(self.door.settings.keep_alive_timeout_s)
        else:
            self._refuse(503, "Too many connections.")

    def get_buffer(self, sizehint: int) -> memoryview:  # type: ignore[override]  # noqa: ARG002
        body = self.body
        if body.__class__ is Fill:
            return cast("Fill", body).buffer()
        return self.door.scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self.stage == FILL:
            self._filled(nbytes)
            return
        data = self.door.scratch[:nbytes].tobytes()
        if self.stage == READY:
            # Nearly all requests are these: known head, whole request, nothing else.
            heads = self.door.heads
            head = heads.get(data)
            if head is not None:
                if head.plain:
                    self.submit(head, data)
                    return
            else:
                end = data.find(b"\r\n\r\n") + 4
                head = heads.get(data[:end])
                if head is not None and head.small and len(data) == end + head.length:
                    self.submit(head, data)
                    return
        self._received(data)

    def eof_received(self) -> bool:
        self._gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._gone()
        self.door.wheel.forget(self)
        self.door.lost(self)

    def pause_writing(self) -> None:
        self.blocked = True
        if self.stage != CLOSING:
            self.unsent = self.transport.get_write_buffer_size()
            self.wait(self.door.settings.send_idle_timeout_s)
            self._steer()

    def resume_writing(self) -> None:
        self.blocked = False
        if self.cutting:
            self.transport.abort()
            return
        if self.stage == CLOSING:
            return
        self.wait(self.door.settings.keep_alive_timeout_s if self.stage == READY else 0)
        if self.call is not None:
            self.call.refill()
        self._steer()
        self._advance()

    # ---- from bytes to requests

    def _received(self, data: bytes) -> None:
        stage = self.stage
        if stage in (FLOW, DROP):
            self._flow(data)
        elif stage == CLOSING:
            self.unsent += len(data)
            if self.unsent > _LINGER_BYTES:
                self.transport.abort()
        else:
            if self.rest is None:
                self.rest = bytearray(data)
            else:
                self.rest += data
            if stage == BUSY:
                self._steer()
            else:
                if stage == BODY:
                    self.wait(self.door.settings.body_idle_timeout_s)
                self._advance()

    def _advance(self) -> None:
        """Take request after request, while there is a whole one and none is under way."""
        if self.advancing:
            return
        self.advancing = True
        try:
            while self.rest and self.stage <= BODY and not self.blocked and self._take():
                pass
        finally:
            self.advancing = False
        if not self.rest:
            self.rest = None
        self._steer()

    def _take(self) -> bool:
        rest = cast("bytearray", self.rest)
        if self.stage == BODY:
            return self._take_body(rest)
        door = self.door
        limit = door.settings.max_head_bytes
        end = rest.find(b"\r\n\r\n", max(0, self.seen - 3), limit)
        if end < 0:
            self._head_incomplete(rest, limit)
            return False
        self.seen = 0
        raw = bytes(rest[: end + 4])
        try:
            head = door.heads.get(raw) or door.read_head(raw)
        except HeadError as error:
            self._refuse(error.status, error.text)
            return False
        return self._begin(head, rest, end + 4)

    def _head_incomplete(self, rest: bytearray, limit: int) -> None:
        if looks_wrong(rest, self.seen):
            self._refuse(400, "Invalid request head.")
        elif len(rest) >= limit:
            self._refuse(431, f"The request's head is longer than {limit} bytes.")
        else:
            self.seen = len(rest)
            if self.stage != HEAD:
                self.stage = HEAD
                self.wait(self.door.settings.header_timeout_s)

    def _begin(self, head: Head, rest: bytearray, size: int) -> bool:
        """The head is known; see to the body."""
        if head.length > self.door.settings.max_body_bytes:
            self._refuse(
                413, f"The body is longer than {self.door.settings.max_body_bytes} bytes.", head
            )
            return False
        if head.plain:
            del rest[:size]
            self.submit(head, head.raw)
            return True
        self._start_clock(head)
        if head.small and size + head.length < LARGE:
            self.head = head
            self.need = size + head.length
            self.stage = BODY
            if head.expects and len(rest) == size:
                self.transport.write(_CONTINUE)
            self.wait(self.door.settings.body_idle_timeout_s)
            return self._take_body(rest)
        del rest[:size]
        self._begin_large(head, rest)
        return self.stage == BUSY

    def _take_body(self, rest: bytearray) -> bool:
        need, head = self.need, cast("Head", self.head)
        if len(rest) < need:
            return False
        payload = head.raw + rest[need - head.length : need]
        del rest[:need]
        self.head = None
        self.submit(head, payload)
        return True

    def _begin_large(self, head: Head, rest: bytearray) -> None:
        if self.door.route_of(head) is None:
            self._answer_here(head, close=True)
            return
        slab: Slab | None = None
        if not (head.chunked or head.upgrade) and head.length <= _FILL_LIMIT:
            slab = self.door.lend(head.length)
        if slab is not None:
            self._begin_fill(head, slab, rest)
            return
        length = -1 if head.upgrade else head.length
        flow = Flow(length, chunked=head.chunked, limit=self.door.settings.max_body_bytes)
        self.body = flow
        self.submit(head, head.raw, flow=flow)
        data = bytes(rest)
        rest.clear()
        if self.body is flow:
            self._flow(data)

    def _begin_fill(self, head: Head, slab: Slab, rest: bytearray) -> None:
        self.body = fill = Fill(head, slab)
        self.stage = FILL
        if rest:
            with memoryview(rest) as view:
                fill.put(view[: fill.size])
            del rest[: fill.size]
        elif head.expects:
            self.transport.write(_CONTINUE)
        self._filled(0)

    def _filled(self, size: int) -> None:
        fill = cast("Fill", self.body)
        if fill.filled(size):
            self.body = None
            fill.view.release()
            self.submit(fill.head, fill.head.raw, fill.slab)
        else:
            self.wait(self.door.settings.body_idle_timeout_s)

    def _flow(self, data: bytes) -> None:
        flow = cast("Flow", self.body)
        try:
            rest = flow.feed(data)
        except ChunkedError as error:
            self._refuse(400, str(error))
            return
        except BodyTooLarge:
            self._refuse(413, "The body is longer than the limit.")
            return
        if not flow.done:
            self.wait(self.door.settings.body_idle_timeout_s if flow.wants_more else 0)
            self._steer()
            return
        self.body = None
        if rest:
            self.rest = bytearray(rest)
        self.wait(0)
        if self.stage == DROP:
            self._ready()
        else:
            self.stage = BUSY
            self._steer()

    # ---- the request under way

    def submit(
        self, head: Head, payload: bytes, slab: Slab | None = None, flow: Flow | None = None
    ) -> None:
        """Hand a request to its router."""
        door = self.door
        route = head.route
        if route is None:
            route = door.route_of(head)
            if route is None:
                if slab is not None:
                    slab.release()
                self._answer_here(head)
                return
        door.requests += 1
        door.in_flight += 1
        self.stage = BUSY if flow is None else FLOW
        if self.total or door.limits_time or head.timeout_s is not None:
            self._start_clock(head)
            self.wait(0)
        else:
            self.deadline = 0.0
        self.call = call = HttpCall(self, head, payload, slab, flow)
        route.router.submit(call)

    def _start_clock(self, head: Head) -> None:
        if not self.total:
            limit = self.door.limit_of(head)
            self.total = self.door.now() + limit if limit > 0 else 0.0

    def _answer_here(self, head: Head, *, close: bool = False) -> None:
        status, text, content_type = self.door.answer(head)
        self._reply(head, status, text, close=close, content_type=content_type)
        if close:
            self._linger()
        else:
            self._turn_over(head, 0)

    def body_wanted(self, flow: Flow, amount: int) -> None:
        """The replica gives credit for the request's body."""
        call = cast("HttpCall", self.call)
        if call.head.expects and not (flow.granted or flow.arrived or call.begun):
            self.transport.write(_CONTINUE)
        flow.grant(amount)
        if self.body is flow:
            self.wait(self.door.settings.body_idle_timeout_s)
            self._steer()

    # ---- the reply

    def write(self, payload: bytes | Segments) -> None:
        """Bytes for the client, as they are."""
        if payload.__class__ is bytes:
            self.transport.write(cast("bytes", payload))
        else:
            parts = cast("Segments", payload)
            self.transport.writelines([parts.inline, *parts.buffers])

    def replied(self, flags: int, payload: bytes | Segments) -> None:
        """The whole reply is there."""
        payload = self.door.outgoing(payload)
        self.write(payload)
        call = cast("HttpCall", self.call)
        self._turn_over(call.head, flags)

    def reply_begins(self, payload: bytes | Segments) -> None:
        """The head of a reply is there; more follows."""
        self.write(self.door.outgoing(payload))

    def reply_ends(self, flags: int) -> None:
        """The last chunk of the reply has been written."""
        call = cast("HttpCall", self.call)
        self._turn_over(call.head, flags)

    def call_failed(self, call: HttpCall, error: BaseException) -> None:
        """There is no reply, or no end of it."""
        if call.begun:
            self._cut()
            return
        status, text, more = refusal(error)
        self._reply(call.head, status, text, request_id=self._request_id(call), more=more)
        self._turn_over(call.head, 0)

    def _turn_over(self, head: Head, flags: int) -> None:
        """The reply is complete: the next request, or the end."""
        self.call = None
        self.total = 0.0
        if flags & CLOSE or head.close or head.upgrade or self.door.draining:
            self._linger() if self.body is not None else self._close()
        elif self.body is not None:
            self._drop_body(head, cast("Flow", self.body))
        else:
            self._ready()

    def _ready(self) -> None:
        self.stage = READY
        door = self.door
        # As `wait`, for the case that counts.
        self.deadline = deadline = door.now() + door.keep_alive_s
        if not self.bucket or deadline < self.bucket * 0.1 - 0.1:
            door.wheel.watch(self)
        if self.blocked:
            self.wait(door.settings.send_idle_timeout_s)
        if self.rest is not None:
            self._advance()

    def _drop_body(self, head: Head, flow: Flow) -> None:
        """The reply came before the request's body had been read."""
        if (flow.left > _DISCARD and not head.chunked) or (head.expects and not flow.arrived):
            self._linger()
            return
        flow.drop(_DISCARD)
        self.stage = DROP
        self.wait(self.door.settings.body_idle_timeout_s)
        self._steer()

    def _request_id(self, call: HttpCall) -> str:
        link = call.link
        if call.head.request_id or link is None:
            return call.head.request_id
        return request_id_of(link.name, call.call_id)

    def _reply(self, head: Head | None, status: int, text: str, **how: Any) -> None:
        """Answer from here, without a replica."""
        if head is not None:
            how["bodiless"] = head.method == b"HEAD"
            how["request_id"] = how.get("request_id") or head.request_id
            how["close"] = how.get("close") or head.close or self.door.draining
        how["request_id"] = how.get("request_id") or self.door.new_request_id()
        reply = render(status, text, **how)
        self.door.count(reply)
        self.transport.write(reply)

    def _refuse(self, status: int, text: str, head: Head | None = None) -> None:
        """Answer bad input, and have nothing more to do with this client."""
        call = self.call
        begun = call is not None and call.begun
        self._let_go()
        if begun:
            self._cut()
        else:
            self._reply(head or (call.head if call else None), status, text, close=True)
            self._linger()

    # ---- the end

    def _gone(self) -> None:
        """The client does not wait any more."""
        if self.body.__class__ is Flow and self.call is not None and self.call.head.upgrade:
            cast("Flow", self.body).end()
            self.call = None
            self.body = None
        elif self.call is not None and self.call.head.detached and self.body is None:
            self.call = None
        self._let_go()
        self.stage = CLOSING
        self.deadline = 0.0

    def _let_go(self) -> None:
        call, body = self.call, self.body
        self.call = None
        self.body = None
        self.head = None
        self.rest = None
        self.total = 0.0
        if call is not None:
            call.cancel()
        if body.__class__ is Fill:
            cast("Fill", body).view.release()
            cast("Fill", body).slab.release()

    def _close(self) -> None:
        """Close once everything written has been taken."""
        self._let_go()
        self.stage = CLOSING
        self.transport.close()
        self.wait(self.door.settings.send_idle_timeout_s)

    def _linger(self) -> None:
        """Close, but let the client, who may still be sending, read what it was told first."""
        self._let_go()
        self.stage = CLOSING
        self.unsent = 0
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self._close()
            return
        self.transport.write_eof()
        self._steer()
        self.wait(_LINGER_S)

    def _cut(self) -> None:
        """End a reply that cannot be completed so that the client takes it for no success."""
        self._let_go()
        self.stage = CLOSING
        if self.transport.get_write_buffer_size():
            self.cutting = True
            self.transport.set_write_buffer_limits(high=0)
            self.wait(self.door.settings.send_idle_timeout_s)
        else:
            self.transport.abort()

    def drain(self) -> None:
        """The door closes: so does this connection, when nothing is under way on it."""
        if self.stage == READY and self.rest is None:
            self._close()

    # ---- time and flow

    def wait(self, seconds: float) -> None:
        """Expire after so long (0: never), or when the request has had its time."""
        deadline = self.door.now() + seconds if seconds else 0.0
        total = self.total
        self.deadline = min(deadline, total) if deadline and total else deadline or total
        if self.deadline:
            self.door.wheel.watch(self)

    def _steer(self) -> None:
        """Read from the client exactly when there is room for it."""
        stage = self.stage
        if stage == FLOW:
            stop = not cast("Flow", self.body).wants_more
        elif stage in (DROP, CLOSING):
            stop = False
        else:
            stop = self.blocked or (self.rest is not None and len(self.rest) > _AHEAD)
        if stop != self.paused and not self.transport.is_closing():
            self.paused = stop
            (self.transport.pause_reading if stop else self.transport.resume_reading)()

    def expire(self) -> None:
        """The wheel says that the deadline has passed."""
        stage, settings = self.stage, self.door.settings
        if stage == CLOSING:
            self.transport.abort()
        elif self.total and self.door.now() >= self.total:
            self._timed_out()
        elif self.blocked:
            self._not_taken()
        elif stage == READY or stage == DROP:
            self._close()
        elif stage == HEAD:
            self._refuse(
                408, f"The request's head took longer than {settings.header_timeout_s:g}s."
            )
        else:
            self._refuse(408, f"No body arrived for {settings.body_idle_timeout_s:g}s.", self.head)

    def _not_taken(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left < self.unsent:
            self.unsent = left
            self.wait(self.door.settings.send_idle_timeout_s)
        else:
            self._let_go()
            self.stage = CLOSING
            self.transport.abort()

    def _timed_out(self) -> None:
        call = self.call
        head = call.head if call is not None else self.head
        if head is None and self.body.__class__ is Fill:
            head = cast("Fill", self.body).head
        if call is not None and call.begun:
            self._cut()
            return
        assert head is not None
        request_id = (self._request_id(call) if call else "") or self.door.new_request_id()
        text = timed_out(request_id, self.door.limit_of(head))
        whole = self.body is None and self.stage == BUSY
        if call is not None:
            call.cancel()
            self.call = None
        self._reply(head, 408, text, request_id=request_id, close=not whole)
        if whole:
            self._turn_over(head, 0)
        else:
            self._linger()
