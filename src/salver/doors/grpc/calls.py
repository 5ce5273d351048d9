"""gRPC calls on their way to a replica: messages pass as they are, nothing here reads them."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from salver.calls.call import DONE, QUEUED, SENT, Call
from salver.calls.context import request_id_of
from salver.calls.grpc_frames import read_tail, split, whole
from salver.errors import DeploymentUnavailableError, RequestCancelledError
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
    from salver.doors.grpc.head import RpcHead
    from salver.doors.grpc.rpc import Rpc
    from salver.wire.payload import Segments

__all__ = ("GrpcCall", "StreamedCall", "UnaryCall", "Upstream")

_REFILL: Final = INITIAL_CREDIT // 2  # credit owed before the replica is told to go on
_NOTHING: Final = b""


class GrpcCall(Call):
    """What the two kinds of calls share: the way to a replica.

    `upstream`: the client's messages, where it sends a stream of them. `find`, who tells its router
    as things are then (None: its app does), is set when it is submitted.
    """

    __slots__ = ("door", "find", "flags", "head", "message", "timer", "upstream")

    protocol = "grpc"

    def __init__(
        self,
        door: GrpcDoor,
        head: RpcHead,
        message: bytes,
        upstream: Upstream | None = None,
    ) -> None:
        # Call's own slots, without the cost of a second __init__ per request.
        self.router = None
        self.link = None
        self.call_id = 0
        self.state = QUEUED
        self.streaming = False
        self.ticket = 0
        self.door = door
        self.head = head
        self.message = message
        self.flags = GRPC
        self.find: Callable[[], Router] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.upstream = upstream
        if upstream is not None:
            upstream.call = self
            self.flags = GRPC | BODY

    @abstractmethod
    def _end(
        self, tail: CallTail | None, answer: bytes | memoryview, error: BaseException | None
    ) -> None:
        """It is over, with an answer or an error."""

    def send(self, link: Link, call_id: int) -> None:
        """Write the request to a replica."""
        aux = link.names.get(self.head.path)
        if aux is None:
            aux = link.introduce(self.head.path)
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
        return self.head.path.rpartition("/")[2]

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The message, which nobody has read; without one, where the client sends a stream."""
        return (bytes(self.message),) if self.upstream is None else (), {}

    @property
    def model_id(self) -> str:
        return self.head.model_id

    @property
    def session_id(self) -> str:
        return self.head.session_id

    def answered(self, flags: int, payload: bytes | Segments) -> None:
        if flags & META:
            words, message = split(payload)
            self._end(read_tail(words), message, None)
        else:
            self._end(None, whole(payload), None)

    def ended(self, flags: int) -> None:  # noqa: ARG002
        self._end(None, _NOTHING, None)

    def failed(self, error: BaseException) -> None:
        if self.state == QUEUED and isinstance(error, DeploymentUnavailableError):
            self.door.reroute(self, error)
        else:
            self.give_up(error)

    def give_up(self, error: BaseException) -> None:
        """There will be no answer from a replica."""
        self._end(None, _NOTHING, error)

    def credit(self, amount: int) -> None:
        if self.upstream is not None:
            self.upstream.granted(amount)

    def cancel(self, error: BaseException | None = None) -> None:
        """Nobody waits for it any more, or not for longer: then with the error that says so."""
        if self.state != DONE:
            if self.router is not None:
                self.router.cancel(self)
            self._end(None, _NOTHING, error or RequestCancelledError(self.request_id))


class UnaryCall(GrpcCall):
    """One message comes back: the door tells the client, in the turn of the loop it came in."""

    __slots__ = ("rpc",)

    def __init__(
        self, door: GrpcDoor, rpc: Rpc, message: bytes, upstream: Upstream | None = None
    ) -> None:
        GrpcCall.__init__(self, door, rpc.head, message, upstream)
        self.rpc = rpc
        rpc.work = self

    def chunk(self, flags: int, payload: bytes | Segments) -> None:
        """A replica streams only what was asked to be streamed."""

    def _end(
        self, tail: CallTail | None, answer: bytes | memoryview, error: BaseException | None
    ) -> None:
        self.state = DONE
        self.message = _NOTHING
        self.door.ended(self, self.rpc, tail, answer, error)


class StreamedCall(GrpcCall):
    """Messages come back one by one: `await call.next()` gives them, then None.

    How it went is there then: `tail`, or the error that `next` raises.
    """

    __slots__ = ("_error", "_items", "_owed", "_waiter", "compression", "tail")

    def __init__(
        self, door: GrpcDoor, head: RpcHead, message: bytes, upstream: Upstream | None = None
    ) -> None:
        GrpcCall.__init__(self, door, head, message, upstream)
        self.streaming = True
        self.flags |= STREAM
        self.compression: int | None = None  # known before the first message
        self.tail: CallTail | None = None
        self._error: BaseException | None = None
        self._items: deque[bytes | memoryview] = deque()
        self._owed = 0
        self._waiter: asyncio.Future[None] | None = None

    async def next(self) -> bytes | memoryview | None:
        """The next message; the replica is never more than a bounded amount ahead."""
        while not self._items:
            if self._error is not None:
                raise self._error
            if self.state == DONE:
                return None
            self._waiter = self.door.loop.create_future()
            await self._waiter
        item = self._items.popleft()
        self._owed += chunk_cost(len(item))
        if self._owed >= _REFILL and self.state == SENT and self.link is not None:
            self.link.conn.send(CREDIT, 0, self._owed, self.call_id)
            self._owed = 0
        return item

    def answered(self, flags: int, payload: bytes | Segments) -> None:
        if not flags & STREAM:
            GrpcCall.answered(self, flags, payload)
        else:
            words, _ = split(payload)
            self.compression = read_tail(words).compression

    def chunk(self, flags: int, payload: bytes | Segments) -> None:  # noqa: ARG002
        self._items.append(whole(payload))
        self._wake()

    def _end(
        self,
        tail: CallTail | None,
        answer: bytes | memoryview,  # noqa: ARG002
        error: BaseException | None,
    ) -> None:
        self.state = DONE
        self.message = _NOTHING
        self.tail, self._error = tail, error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Upstream:
    """A client's stream of messages, passed on as the replica takes them."""

    __slots__ = ("_credit", "_over", "_rpc", "call")

    def __init__(self, rpc: Rpc) -> None:
        self.call: GrpcCall | None = None  # not made yet
        self._credit = 0
        self._over = False  # the replica knows that there are no more
        self._rpc = rpc
        rpc.listener = self

    def arrived(self) -> None:
        """The client has sent something, or all."""
        self._go_on()

    def begins(self) -> None:
        """The request is with a replica, which has heard nothing of the stream yet."""
        self._over = False
        self._go_on()

    def granted(self, amount: int) -> None:
        """The replica takes so much more."""
        self._credit += amount
        self._go_on()

    def _go_on(self) -> None:
        call = self.call
        if call is None or call.state != SENT or call.link is None or self._over:
            return
        conn = call.link.conn
        while self._credit > 0 and (message := self._rpc.take()) is not None:
            self._credit -= chunk_cost(len(message))
            if len(message) < LARGE:
                conn.send(CHUNK, GRPC, 0, call.call_id, message)
            else:
                conn.send_parts(CHUNK, GRPC, 0, call.call_id, _NOTHING, (message,))
        if self._rpc.exhausted:
            self._over = True
            conn.send(END, GRPC, 0, call.call_id)
