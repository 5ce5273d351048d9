"""One HTTP request as a call: head and body to a replica, the rendered reply to the client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from salver.calls.call import DONE, QUEUED, SENT, Call
from salver.calls.context import pack_meta
from salver.doors.routed import RoutedRequest
from salver.errors import DeploymentUnavailableError, ReplicaDiedError
from salver.wire.frames import (
    BODY,
    CLOSE,
    CREDIT,
    HTTP,
    INITIAL_CREDIT,
    META,
    REQ,
    STREAM,
    chunk_cost,
)
from salver.wire.messages import Meta

if TYPE_CHECKING:
    from salver.calls.link import Link
    from salver.doors.body import Flow
    from salver.doors.head import Head
    from salver.doors.protocol import HttpProtocol
    from salver.wire.arena import Slab
    from salver.wire.payload import Segments

__all__ = ("HttpCall",)

_REFILL: Final = INITIAL_CREDIT // 2  # credit owed before the replica is told to go on


class HttpCall(Call):
    """Lives from the moment a request can be sent until its reply is complete.

    `begun`: something of the reply has been written. `conn.call` is this call for as long as the
    client waits for it; afterwards whatever comes is dropped here.
    """

    __slots__ = ("begun", "conn", "flow", "head", "owed", "payload", "slab")

    protocol = "http"

    def __init__(
        self,
        conn: HttpProtocol,
        head: Head,
        payload: bytes,
        slab: Slab | None = None,
        flow: Flow | None = None,
    ) -> None:
        # Call's own slots, without the cost of a second __init__ per request.
        self.router = None
        self.link = None
        self.call_id = 0
        self.state = QUEUED
        self.streaming = head.upgrade
        self.ticket = 0
        self.conn = conn
        self.head = head
        self.payload = payload
        self.slab = slab
        self.flow = flow
        self.begun = False
        self.owed = 0

    @property
    def request_id(self) -> str:
        return self.head.request_id

    @property
    def model_id(self) -> str:
        return self.head.model_id

    @property
    def session_id(self) -> str:
        return self.head.session_id

    @property
    def route(self) -> str:
        return self.head.route.prefix if self.head.route is not None else ""

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The request, as far as it has come."""
        return (RoutedRequest(self),), {}

    def send(self, link: Link, call_id: int) -> None:
        """Write the request to a replica."""
        head, payload, flow = self.head, self.payload, self.flow
        flags = HTTP
        client = self.conn.client
        size = len(head.raw)
        if len(payload) == size:
            payload += client
        else:
            payload = b"".join((payload[:size], client, payload[size:]))
        size += len(client)
        if head.close or self.conn.door.draining:
            flags |= CLOSE
        if head.request_id or head.model_id or head.session_id:
            flags |= META
            payload = self._meta() + payload
        if flow is not None:
            if flow.sent:
                self._cannot_repeat(link)
                return
            flags |= BODY | STREAM if head.upgrade else BODY
            flow.to(link, call_id)
        if self.slab is None:
            link.conn.send(REQ, flags, size, call_id, payload)
        else:
            link.conn.send_parts(REQ, flags, size, call_id, payload, (self.slab,))

    def answered(self, flags: int, payload: bytes | Segments) -> None:
        conn = self.conn
        if flags & STREAM:
            self.begun = True
            if conn.call is self:
                conn.reply_begins(payload)
            return
        self._close()
        if conn.call is self:
            conn.replied(self.head, flags, payload)

    def chunk(self, flags: int, payload: bytes | Segments) -> None:  # noqa: ARG002
        conn = self.conn
        self.owed += chunk_cost(len(payload))
        if conn.call is self:
            conn.write(payload)
            if conn.blocked:
                return
        if self.owed >= _REFILL:
            self.refill()

    def refill(self) -> None:
        """Let the replica send as much as has been taken."""
        if self.owed and self.state == SENT and self.link is not None:
            self.link.conn.send(CREDIT, 0, self.owed, self.call_id)
            self.owed = 0

    def ended(self, flags: int) -> None:
        self._close()
        if self.conn.call is self:
            self.conn.reply_ends(self.head, flags)

    def credit(self, amount: int) -> None:
        if self.flow is None:
            return
        if self.conn.call is self:
            self.conn.body_wanted(self.flow, amount)
        else:
            self.flow.grant(amount)

    def failed(self, error: BaseException) -> None:
        gone = self.state == QUEUED and isinstance(error, DeploymentUnavailableError)
        if gone and self.conn.call is self:
            self.conn.door.reroute(self, error)
        else:
            self.give_up(error)

    def give_up(self, error: BaseException) -> None:
        """There will be no reply from a replica."""
        self._close()
        if self.conn.call is self:
            self.conn.call_failed(self, error)

    def cancel(self) -> None:
        """Nobody waits for it any more."""
        if self.state != DONE:
            if self.router is not None:
                self.router.cancel(self)
            self._close()

    def last_words(self) -> bytes:
        """What ends a reply that has begun so that the client knows; empty: nothing does."""
        return b""

    def outlives_client(self) -> bool:
        """Tell whether it goes on when the client has gone."""
        if self.flow is None or self.flow.done:
            return self.head.detached
        if self.head.upgrade:
            self.flow.end()
        return self.head.upgrade

    def _close(self) -> None:
        self.state = DONE
        self.conn.door.in_flight -= 1
        if self.slab is not None:
            self.slab.release()
            self.slab = None

    def _cannot_repeat(self, link: Link) -> None:
        """Part of the body went to a replica that is gone, and the client sends it only once."""
        self.cancel()
        if self.conn.call is self:
            self.conn.call_failed(self, ReplicaDiedError(link.replica.id))

    def _meta(self) -> bytes:
        head = self.head
        route = head.route
        app, prefix = (route.app, route.prefix) if route is not None else ("", "")
        return pack_meta(Meta(head.request_id, app, prefix, head.model_id, head.session_id))
