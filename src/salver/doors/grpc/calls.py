"""gRPC calls on their way to a replica: messages pass as they are, nothing here reads them."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import grpc

from salver.calls.call import DONE, QUEUED, SENT, Call
from salver.calls.context import request_id_of
from salver.calls.grpc_frames import read_tail, split, whole
from salver.errors import DeploymentUnavailableError
from salver.wire.frames import (
    BODY,
    CHUNK,
    CREDIT,
    END,
    GRPC,
    INITIAL_CREDIT,
    LARGE,
    META,
    REQ,
    STREAM,
    chunk_cost,
)
from salver.wire.messages import CallTail

if TYPE_CHECKING:
    from collections.abc import Callable

    from salver.calls.link import Link
    from salver.calls.router import Router
    from salver.doors.grpc.door import GrpcDoor
    from salver.doors.grpc.head import CallHead
    from salver.wire.payload import Segments

__all__ = ("StreamedCall", "UnaryCall", "Upstream")

_REFILL: Final = INITIAL_CREDIT // 2  # credit owed before the replica is told to go on
_NOTHING: Final = b""


class UnaryCall(Call):
    """One message comes back: `await call.future` gives it, with how it ended where that was said.

    `upstream`: the client's messages, where it sends a stream of them. `door` and `find`, who tells
    its router as things are then (None: its app does), are set when it is submitted.
    """

    __slots__ = ("door", "find", "flags", "future", "head", "message", "path", "upstream", "wrote")

    protocol = "grpc"
    door: GrpcDoor
    find: Callable[[], Router] | None

    def __init__(
        self,
        path: str,
        head: CallHead,
        message: bytes,
        loop: asyncio.AbstractEventLoop,
        upstream: Upstream | None = None,
    ) -> None:
        # Call's own slots, without the cost of a second __init__ per request.
        self.router = None
        self.link = None
        self.call_id = 0
        self.state = QUEUED
        self.streaming = False
        self.ticket = 0
        self.path = path
        self.head = head
        self.message = message
        self.flags = GRPC
        self.upstream = upstream
        self.wrote = False  # the head of the answer has left
        self.future: asyncio.Future[Any] = loop.create_future()
        if upstream is not None:
            upstream.call = self
            self.flags = GRPC | BODY

    def send(self, link: Link, call_id: int) -> None:
        """Write the request to a replica."""
        aux = link.names.get(self.path)
        if aux is None:
            aux = link.introduce(self.path)
        head, message = self.head, self.message
        flags = self.flags | META if head.has_meta else self.flags
        if len(message) < LARGE:
            link.conn.send(REQ, flags, aux, call_id, head.front + message)
        else:
            link.conn.send_parts(REQ, flags, aux, call_id, head.front, (message,))
        if self.upstream is not None:
            self.upstream.begins()

    @property
    def request_id(self) -> str:
        """The id of this call; empty: it never left."""
        if self.head.request_id or self.link is None:
            return self.head.request_id
        return request_id_of(self.link.name, self.call_id)

    @property
    def method(self) -> str:
        return self.path.rpartition("/")[2]

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The message, which nobody has read; without one, where the client sends a stream."""
        return (self.message,) if self.upstream is None else (), {}

    @property
    def model_id(self) -> str:
        return self.head.model_id

    @property
    def session_id(self) -> str:
        return self.head.session_id

    def answered(self, flags: int, payload: bytes | Segments) -> None:
        tail, message = _read(flags, payload)
        self._end((tail, message), None)

    def ended(self, flags: int) -> None:  # noqa: ARG002
        self._end((None, _NOTHING), None)

    def failed(self, error: BaseException) -> None:
        if self.state == QUEUED and isinstance(error, DeploymentUnavailableError):
            self.door.reroute(self, error)
        else:
            self.give_up(error)

    def give_up(self, error: BaseException) -> None:
        """There will be no answer from a replica."""
        self._end(None, error)

    def chunk(self, flags: int, payload: bytes | Segments) -> None:
        """A replica streams only what was asked to be streamed."""

    def credit(self, amount: int) -> None:
        if self.upstream is not None:
            self.upstream.granted(amount)

    def cancel(self, error: BaseException | None = None) -> None:
        """Nobody waits for it any more, or not for longer: then with the error that says so."""
        if self.state != DONE:
            if self.router is not None:
                self.router.cancel(self)
            self._end(None, error)

    def _end(self, result: Any, error: BaseException | None) -> None:
        self.state = DONE
        self.message = _NOTHING
        if not self.future.done():
            if error is not None:
                self.future.set_exception(error)
            elif result is not None:
                self.future.set_result(result)


class StreamedCall(UnaryCall):
    """Messages come back one by one: `await call.next()` gives them, then None."""

    __slots__ = ("_items", "_owed", "_waiter", "compression")

    def __init__(
        self,
        path: str,
        head: CallHead,
        message: bytes,
        loop: asyncio.AbstractEventLoop,
        upstream: Upstream | None = None,
    ) -> None:
        UnaryCall.__init__(self, path, head, message, loop, upstream)
        self.streaming = True
        self.compression: int | None = None  # known before the first message
        self.flags |= STREAM
        self._items: deque[bytes | memoryview] = deque()
        self._owed = 0
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> bytes | None:
        """The next message; the replica is never more than a bounded amount ahead."""
        while not self._items:
            if self.state == DONE:
                return None
            self._waiter = self.future.get_loop().create_future()
            await self._waiter
        item = self._items.popleft()
        self._owed += chunk_cost(len(item))
        if self._owed >= _REFILL and self.state == SENT and self.link is not None:
            self.link.conn.send(CREDIT, 0, self._owed, self.call_id)
            self._owed = 0
        return item if isinstance(item, bytes) else bytes(item)

    def answered(self, flags: int, payload: bytes | Segments) -> None:
        if not flags & STREAM:
            UnaryCall.answered(self, flags, payload)
        else:
            tail, _ = _read(flags, payload)
            self.compression = tail.compression if tail is not None else None

    def chunk(self, flags: int, payload: bytes | Segments) -> None:  # noqa: ARG002
        self._items.append(whole(payload))
        self._wake()

    def _end(self, result: Any, error: BaseException | None) -> None:
        UnaryCall._end(self, result, error)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Upstream:
    """A client's stream of messages, read as the replica takes them."""

    __slots__ = ("_credit", "_over", "_waiter", "call")

    call: UnaryCall

    def __init__(self) -> None:
        self._credit = 0
        self._over = False
        self._waiter: asyncio.Future[None] | None = None

    async def pump(self, context: Any, answering: asyncio.Task[Any]) -> None:
        """Pass on one message after the other, until the last or until the call is over.

        `answering`: what grpc cancels when the client has gone.
        """
        while True:
            message = await context.read()
            if message is grpc.aio.EOF:
                break
            while self._credit <= 0:
                self._waiter = self.call.future.get_loop().create_future()
                await self._waiter
            self._credit -= chunk_cost(len(message))
            self._send(message)
        # A stream that was cut ends in the same way, just before grpc tells of the cut. What is
        # asked of grpc now is answered after that.
        await context.read()
        if answering.cancelling():
            return
        self._over = True
        self.begins()

    def begins(self) -> None:
        """The request is with a replica: it is told of the end, should that have come already."""
        if self._over and self.call.state == SENT and self.call.link is not None:
            self.call.link.conn.send(END, GRPC, 0, self.call.call_id)

    def granted(self, amount: int) -> None:
        """The replica takes so much more."""
        self._credit += amount
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _send(self, message: bytes) -> None:
        call = self.call
        if call.state != SENT or call.link is None:
            return
        if len(message) < LARGE:
            call.link.conn.send(CHUNK, GRPC, 0, call.call_id, message)
        else:
            call.link.conn.send_parts(CHUNK, GRPC, 0, call.call_id, _NOTHING, (message,))


def _read(flags: int, payload: bytes | Segments) -> tuple[CallTail | None, bytes]:
    if not flags & META:
        message = whole(payload)
        return None, message if isinstance(message, bytes) else bytes(message)
    tail, rest = split(payload)
    return read_tail(tail), rest if isinstance(rest, bytes) else bytes(rest)
