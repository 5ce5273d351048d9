"""One client connection: requests out to replicas, rendered replies back, one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from salver.calls.context import request_id_of
from salver.doors.body import Fill, Flow
from salver.doors.connection import BUSY, CLOSING, DROP, FLOW, HEAD, READY
from salver.doors.errors import in_json, render, timed_out
from salver.doors.head import Head
from salver.doors.http import HttpCall
from salver.doors.intake import CONTINUE, Intake
from salver.doors.page import PageCall
from salver.doors.tunnel import TunnelCall
from salver.doors.wheel import TICK
from salver.spec.refusals import refusal
from salver.telemetry.prometheus import CONTENT_TYPE
from salver.wire.frames import CLOSE, LARGE

if TYPE_CHECKING:
    from salver.wire.arena import Slab
    from salver.wire.payload import Segments

__all__ = ("HttpProtocol",)

_SHORT: Final = 4 * 1024  # what comes in one piece and is longer is hardly a head alone
_DISCARD: Final = 256 * 1024  # of a body nobody reads, to save the connection


class HttpProtocol(Intake):
    """What the loop is given for each connection."""

    __slots__ = ()

    # ---- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.client = _address_of(transport)
        if self.door.open(self):
            self.wait(self.door.settings.keep_alive_timeout_s)
        else:
            self.refuse(503, "Too many connections.")

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        body = self.body
        if type(body) is Fill:
            return body.view[body.at :]
        return self.door.scratch

    def buffer_updated(self, nbytes: int) -> None:
        body = self.body
        if type(body) is Fill:
            self.filled(body, nbytes)
            return
        if nbytes > _SHORT and self.stage == READY and self._has_known_head(nbytes):
            return
        data = self.door.scratch[:nbytes].tobytes()
        if nbytes <= _SHORT and self.stage == READY:
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
        self.received(data)

    def _has_known_head(self, size: int) -> bool:
        """Whether a known head came with its body, or with the first of a large one; it is taken
        then. Of so much only the beginning is looked at: to hash it all would cost more."""
        scratch = self.door.scratch
        raw = scratch[:_SHORT].tobytes()
        end = raw.find(b"\r\n\r\n") + 4
        head = self.door.heads.get(raw[:end])
        if head is None:
            return False
        if head.small and size == end + head.length:
            self.submit(head, scratch[:size].tobytes())
            return True
        if not LARGE <= head.length <= self.door.settings.max_body_bytes or self.blocked:
            return False
        if self.door.limits_time or head.timeout_s is not None:
            self.start_clock(head)
        self.begin_large(head, scratch[end:size])
        return True

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
                self.answer_here(head)
                return
        door.requests += 1
        door.in_flight += 1
        self.stage = BUSY if flow is None else FLOW
        if self.total or door.limits_time or head.timeout_s is not None:
            self.start_clock(head)
            self.wait(0)
        else:
            self.deadline = 0.0
        kind = TunnelCall if flow is not None and head.upgrade else HttpCall
        self.call = call = kind(self, head, payload, slab, flow)
        route.router.submit(call)

    def start_clock(self, head: Head) -> None:
        if not self.total:
            limit = self.door.limit_of(head)
            self.total = self.door.now() + limit if limit > 0 else 0.0

    def answer_here(self, head: Head, *, close: bool = False) -> None:
        page = None if close else self.door.page_of(head)
        if page is not None:
            self.stage = BUSY
            self.deadline = 0.0
            self.door.in_flight += 1
            self.call = PageCall(self, head, page, CONTENT_TYPE)
            return
        status, text, content_type = self.door.answer(head)
        self._reply(head, status, text, close=close, content_type=content_type)
        if close:
            self.linger()
        else:
            self._turn_over(head, 0)

    def page_made(self, head: Head, status: int, text: str, kind: str) -> None:
        """A page of the door's own is there."""
        self._reply(head, status, text, content_type=kind)
        self._turn_over(head, 0)

    def body_wanted(self, flow: Flow, amount: int) -> None:
        """The replica gives credit for the request's body."""
        call = cast("HttpCall", self.call)
        if call.head.expects and not (flow.granted or flow.arrived or call.begun):
            self.transport.write(CONTINUE)
        flow.grant(amount)
        if self.body is flow:
            self.await_body(flow)

    # ---- the reply

    def replied(self, head: Head, flags: int, payload: bytes | Segments) -> None:
        """The whole reply is there."""
        door = self.door
        if type(payload) is bytes and not door.draining:  # as below, for the case that counts
            door.by_class[payload[9] - 48] += 1
            self.transport.write(payload)
        else:
            self.write(door.outgoing(payload))
        self._turn_over(head, flags)

    def reply_begins(self, payload: bytes | Segments) -> None:
        """The head of a reply is there; more follows."""
        self.write(self.door.outgoing(payload))
        if cast("HttpCall", self.call).head.upgrade:
            self.total = 0.0
            self.wait(0)

    def reply_ends(self, head: Head, flags: int) -> None:
        """The last chunk of the reply has been written."""
        self._turn_over(head, flags)

    def call_failed(self, call: HttpCall, error: BaseException) -> None:
        """There is no reply, or no end of it."""
        if call.begun:
            self._break_off(call)
            return
        status, text, more = refusal(error)
        self._reply(call.head, status, text, request_id=self._request_id(call), more=more)
        self._turn_over(call.head, 0)

    def _break_off(self, call: HttpCall) -> None:
        """The reply has begun and will not be completed."""
        words = call.last_words()
        if words:
            self.transport.write(words)
            self.linger()
        else:
            self.cut()

    def _turn_over(self, head: Head, flags: int) -> None:
        """The reply is complete: the next request, or the end."""
        self.call = None
        self.total = 0.0
        if flags & CLOSE or head.close or head.upgrade or self.door.draining:
            self.linger() if self.body is not None else self.close()
        elif self.body is not None:
            self._drop_body(head, cast("Flow", self.body))
        else:
            self.ready()

    def ready(self) -> None:
        self.stage = READY
        door = self.door
        # As `wait`, for the case that counts.
        self.deadline = deadline = door.now() + door.keep_alive_s
        if not 0 < self.bucket <= deadline / TICK + 1:
            door.wheel.watch(self)
        if self.blocked:
            self.wait(door.settings.send_idle_timeout_s)
        if self.rest is not None:
            self.advance()

    def _drop_body(self, head: Head, flow: Flow) -> None:
        """The reply came before the request's body had been read."""
        if (flow.left > _DISCARD and not head.chunked) or (head.expects and not flow.arrived):
            self.linger()
            return
        flow.drop(_DISCARD)
        self.stage = DROP
        self.await_body(flow)

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
            route = self.door.route_of(head)
            if route is not None and route.json_errors:
                text, how["content_type"] = in_json(text), "application/json"
        how["request_id"] = how.get("request_id") or self.door.new_request_id()
        reply = render(status, text, **how)
        self.door.count(reply)
        if self.door.access is not None:
            self.door.access(head, status, how["request_id"])
        self.transport.write(reply)

    def refuse(self, status: int, text: str, head: Head | None = None) -> None:
        """Answer bad input, and have nothing more to do with this client."""
        call = self.call
        if call is not None and call.begun:
            self.cut()
        else:
            self.let_go()
            self._reply(head or (call.head if call else None), status, text, close=True)
            self.linger()

    # ---- time

    def expire(self) -> None:
        """The wheel says that the deadline has passed."""
        stage, settings = self.stage, self.door.settings
        if stage == CLOSING:
            self.transport.abort()
        elif self.total and self.door.now() >= self.total:
            self._timed_out()
        elif self.blocked:
            self.not_taken()
        elif stage in (READY, DROP):
            self.close()
        elif stage == HEAD:
            self.refuse(408, f"The request's head took longer than {settings.header_timeout_s:g}s.")
        else:
            self.refuse(408, f"No body arrived for {settings.body_idle_timeout_s:g}s.", self.head)

    def _timed_out(self) -> None:
        call, body = self.call, self.body
        if call is not None and call.begun:
            self.cut()
            return
        head = call.head if call is not None else self.head
        if body.__class__ is Fill:
            head = body.head
        known = cast("Head", head)
        request_id = self._request_id(call) if call else known.request_id
        request_id = request_id or self.door.new_request_id()
        text = timed_out(request_id, self.door.limit_of(known))
        whole = self.body is None and self.stage == BUSY
        if call is not None:
            call.cancel()
            self.call = None
        self._reply(known, 408, text, request_id=request_id, close=not whole)
        if whole:
            self._turn_over(known, 0)
        else:
            self.linger()


def _address_of(transport: asyncio.BaseTransport) -> bytes:
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}".encode() if isinstance(peer, tuple) else b""
