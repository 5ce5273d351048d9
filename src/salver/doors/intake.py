"""From a connection's bytes to whole requests, however the bytes are cut.

Heads are understood in `head.py`, chunks in `chunked.py`; bodies go where `body.py` says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from salver.doors.body import BodyTooLarge, Fill, Flow
from salver.doors.chunked import ChunkedError
from salver.doors.connection import (
    BODY,
    BUSY,
    CLOSING,
    DROP,
    FILL,
    FLOW,
    HEAD,
    READY,
    Connection,
)
from salver.doors.head import Head, HeadError, looks_wrong
from salver.wire.frames import LARGE

if TYPE_CHECKING:
    from salver.wire.arena import Slab

__all__ = ("CONTINUE", "Intake")

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_FILL_LIMIT: Final = 16 << 20  # larger bodies flow
_CR: Final = 13


class Intake(Connection):
    """Takes requests out of what arrives and submits them, one at a time."""

    __slots__ = ()

    # ---- what happens with a request

    def submit(
        self, head: Head, payload: bytes, slab: Slab | None = None, flow: Flow | None = None
    ) -> None:
        """This request can be sent."""
        raise NotImplementedError

    def refuse(self, status: int, text: str, head: Head | None = None) -> None:
        """Answer bad input, and have nothing more to do with this client."""
        raise NotImplementedError

    def answer_here(self, head: Head, *, close: bool = False) -> None:
        """No replica is needed for this."""
        raise NotImplementedError

    def start_clock(self, head: Head) -> None:
        """The time that this request may take begins."""
        raise NotImplementedError

    def ready(self) -> None:
        """The request is over in both directions."""
        raise NotImplementedError

    # ---- from bytes to requests

    def received(self, data: bytes) -> None:
        stage = self.stage
        if stage in (FLOW, DROP):
            self._flow(data)
        elif stage == CLOSING:
            self.dropped(len(data))
        else:
            if self.rest is None:
                self.rest = bytearray(data)
            else:
                self.rest += data
            if stage == BUSY:
                self.steer()
            else:
                if stage == BODY:
                    self.wait(self.door.settings.body_idle_timeout_s)
                self.advance()

    def advance(self) -> None:
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
        self.steer()

    def _take(self) -> bool:
        rest = cast("bytearray", self.rest)
        if self.stage == BODY:
            return self._take_body(rest)
        if rest[0] == _CR and not self._skip_empty_lines(rest):
            return False
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
            self.refuse(error.status, error.text)
            return False
        return self._begin(head, rest, end + 4)

    def _skip_empty_lines(self, rest: bytearray) -> bool:
        """They may stand before a request (RFC 9112, 2.2); whether anything comes after them."""
        while rest.startswith(b"\r\n"):
            del rest[:2]
        if rest != b"\r":
            self.stage, self.seen = READY, 0
        return bool(rest)

    def _head_incomplete(self, rest: bytearray, limit: int) -> None:
        if looks_wrong(rest, self.seen):
            self.refuse(400, "Invalid request head.")
        elif len(rest) >= limit:
            self.refuse(431, f"The request's head is longer than {limit} bytes.")
        else:
            self.seen = len(rest)
            if self.stage != HEAD:
                self.stage = HEAD
                if rest != b"\r":  # half an empty line is no sign of a request
                    self.wait(self.door.settings.header_timeout_s)

    def _begin(self, head: Head, rest: bytearray, size: int) -> bool:
        """The head is known; see to the body."""
        if head.length > self.door.settings.max_body_bytes:
            self.refuse(
                413, f"The body is longer than {self.door.settings.max_body_bytes} bytes.", head
            )
            return False
        if head.plain:
            del rest[:size]
            self.submit(head, head.raw)
            return True
        self.start_clock(head)
        if head.small and size + head.length < LARGE:
            self.head = head
            self.need = size + head.length
            self.stage = BODY
            if head.expects and len(rest) == size:
                if self.door.route_of(head) is None:
                    self.answer_here(head, close=True)
                    return False
                self.transport.write(CONTINUE)
            self.wait(self.door.settings.body_idle_timeout_s)
            return self._take_body(rest)
        with memoryview(rest) as view, view[size:] as arrived:
            taken = self.begin_large(head, arrived)
        del rest[: size + taken]
        return True

    def _take_body(self, rest: bytearray) -> bool:
        need, head = self.need, cast("Head", self.head)
        if len(rest) < need:
            return False
        payload = head.raw + rest[need - head.length : need]
        del rest[:need]
        self.head = None
        self.submit(head, payload)
        return True

    def begin_large(self, head: Head, arrived: memoryview) -> int:
        """See to a body that no frame holds; tells how much of `arrived` belongs to it."""
        if head.route is None and self.door.route_of(head) is None:
            self.answer_here(head, close=True)
            return 0
        slab: Slab | None = None
        if not (head.chunked or head.upgrade) and head.length <= _FILL_LIMIT:
            slab = self.door.lend(head.length)
        if slab is not None:
            return self._begin_fill(head, slab, arrived)
        length = -1 if head.upgrade else head.length
        flow = Flow(length, chunked=head.chunked, limit=self.door.settings.max_body_bytes)
        self.body = flow
        self.submit(head, head.raw, flow=flow)
        if self.body is flow:
            self._flow(arrived.tobytes())
        return len(arrived)

    def _begin_fill(self, head: Head, slab: Slab, arrived: memoryview) -> int:
        self.body = fill = Fill(head, slab)
        self.stage = FILL
        taken = min(len(arrived), fill.size)
        if taken:
            fill.put(arrived[:taken])
        elif head.expects:
            self.transport.write(CONTINUE)
        if taken < fill.size:
            self.wait(self.door.settings.body_idle_timeout_s)
        else:
            self.filled(fill, 0)
        return taken

    def filled(self, fill: Fill, size: int) -> None:
        """The kernel wrote so much of a body where it will lie."""
        fill.at += size
        if fill.at >= fill.size:
            if fill.at > fill.size:
                self.rest = bytearray(fill.view[fill.size : fill.at])
            self.body = None
            fill.view.release()
            self.submit(fill.head, fill.head.raw, fill.slab)
        else:
            self.wait(self.door.settings.body_idle_timeout_s)

    def await_body(self, flow: Flow) -> None:
        """Let the client send more of it, if there is room, and not wait for ever."""
        hurry = flow.wants_more and not flow.endless
        self.wait(self.door.settings.body_idle_timeout_s if hurry else 0)
        self.steer()

    def _flow(self, data: bytes) -> None:
        flow = cast("Flow", self.body)
        try:
            rest = flow.feed(data)
        except ChunkedError as error:
            self.refuse(400, str(error))
            return
        except BodyTooLarge:
            self.refuse(413, "The body is longer than the limit.")
            return
        if not flow.done:
            self.await_body(flow)
            return
        self.body = None
        if rest:
            self.rest = bytearray(rest)
        self.wait(0)
        if self.stage == DROP:
            self.ready()
        else:
            self.stage = BUSY
            self.steer()
