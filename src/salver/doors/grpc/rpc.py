"""One gRPC call as the door sees it: messages in, messages out, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from salver.doors.grpc.head import RpcHead
from salver.doors.grpc.messages import (
    ENCODINGS,
    PREFIX,
    Assembly,
    MessageFault,
    compressed,
    decompressed,
)
from salver.doors.grpc.tail import BEGINNING, OK_TAIL, beginning, tail
from salver.doors.http2.frames import DATA, END_HEADERS, END_STREAM, FRAME, HEADERS
from salver.doors.http2.headers import literal
from salver.doors.http2.stream import Stream
from salver.errors import SalverError
from salver.replica.grpc.status import DEADLINE_EXCEEDED, INTERNAL, status_of

if TYPE_CHECKING:
    from salver.doors.http2.connection import Connection

__all__ = ("Rpc", "Work")

_logger: Final = logging.getLogger("salver.ingress")
_COPIED: Final = 16 << 10  # an answer up to so long leaves in one piece with all around it
_pack: Final = FRAME.pack
_BEGINNING_FRAME: Final = len(BEGINNING) << 8 | HEADERS
_LAST: Final = END_HEADERS | END_STREAM


class Work(Protocol):
    """What makes the answer."""

    def cancel(self) -> Any: ...


class Listener(Protocol):
    """Whoever takes the messages of a client's stream."""

    def arrived(self) -> None: ...


class Rpc(Stream):
    """It begins with its head; its handler is given the message, or the call to read them from."""

    __slots__ = (
        "_assembly", "_begun", "_held", "_inbox", "_longest", "_reader", "_timer", "compression",
        "head", "listener", "work",
    )  # fmt: skip

    def __init__(self, conn: Connection, number: int, head: RpcHead, longest: int) -> None:
        Stream.__init__(self, conn, number)
        self.head = head
        self.work: Work | None = None
        self.listener: Listener | None = None
        self.compression: int | None = None  # of the answer: a number of grpc.Compression
        self._longest = longest  # a message of the client's
        self._assembly: Assembly | None = None
        self._held = 0  # bytes of a message that has not come whole, and were not told as taken
        self._inbox: deque[tuple[bytes, int]] | None = None  # messages, and what each took
        self._begun = False
        self._reader: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ---- what arrives

    def opened(self) -> None:
        head = self.head
        if head.refusal:
            self.finish(head.refusal)
            return
        if head.timeout_s is not None:
            self._timer = self.conn.server.loop.call_later(head.timeout_s, self._expire)
        if head.handler.takes_stream:
            self._inbox = deque()
            if self.conn.full:
                self.conn.held[self] = None
            else:
                head.handler.begin(self, b"")

    def start(self) -> None:
        message = b""
        if not self.head.handler.takes_stream:
            message = self.take() or b""
            while self.take() is not None:  # one is all that it takes
                pass
            self._inbox = None
        self.head.handler.begin(self, message)

    def data(self, payload: bytes) -> None:
        size = len(payload)
        # Nearly every message comes in a frame of its own.
        if (
            self._assembly is None
            and size >= PREFIX.size
            and not payload[0]
            and int.from_bytes(payload[1:5], "big") == size - PREFIX.size <= self._longest
        ):
            self._message(payload[PREFIX.size :], size)
        else:
            try:
                self._assemble(payload)
            except MessageFault as fault:
                self.took(self._held)
                self.end(fault.code, str(fault))
                self.gone()
                return
        if self._inbox:
            self._tell()

    def _assemble(self, payload: bytes) -> None:
        """Messages that do not come in frames of their own, or not as they are."""
        assembly = self._assembly
        if assembly is None:
            assembly = self._assembly = Assembly(self._longest)
        self._held += len(payload)
        found = assembly.feed(payload)
        left = min(self._held, len(assembly))
        took, self._held = self._held - left, left
        for packed, message in found:
            if packed:
                message = decompressed(self.head.encoding, message, self._longest)
            self._message(message, took)  # type: ignore[arg-type]
            took = 0
        if not self._inbox:  # nobody has to take anything first
            self.took(took + self._held)
            self._held = 0

    def _message(self, message: bytes, took: int) -> None:
        if self._inbox is not None:
            self._inbox.append((message, took))
            return
        if self._begun:  # and one is all that a method takes, where it takes no stream
            self.took(took)
            return
        self._begun = True
        if self.conn.queued and self.conn.full:
            self._inbox = deque([(message, took)])  # which nobody takes before it starts
            self.conn.held[self] = None
        else:
            self.took(took)
            self.head.handler.begin(self, message)

    def ended(self) -> None:
        if self._assembly:
            self.end(INTERNAL, "The request ends within a message.")
            self.gone()
        elif self._inbox is not None:
            self._tell()
        elif not self._begun:
            self.end(INTERNAL, f"{self.head.path} takes a message, and none came.")

    def _tell(self) -> None:
        if self.listener is not None:
            self.listener.arrived()
        elif self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def gone(self) -> None:
        work, self.work, self.listener = self.work, None, None
        if self._timer is not None:
            self._timer.cancel()
        if work is not None:
            work.cancel()

    def _expire(self) -> None:
        if self.queued:
            self.reset()
        else:
            self.end(DEADLINE_EXCEEDED, "Deadline Exceeded")  # as clients of grpc say it
        self.gone()

    # ---- for whoever answers

    @property
    def exhausted(self) -> bool:
        """The client has sent all, and all of it was taken."""
        return self.heard_all and not self._inbox

    def take(self) -> bytes | None:
        """The next message, if it is there."""
        if not self._inbox:
            return None
        message, took = self._inbox.popleft()
        if not self._inbox:
            took, self._held = took + self._held, 0
        self.took(took)
        return message

    async def read(self) -> bytes | None:
        """The next message of the client's stream; None: that was all."""
        while not self._inbox:
            if self.heard_all or self.over:
                return None
            self._reader = self.conn.server.loop.create_future()
            await self._reader
        return self.take()

    def answer(self, message: bytes | memoryview, request_id: str) -> None:
        """The one message of an answer that is OK, all around it, and the end."""
        block = OK_TAIL + literal(b"request_id", request_id.encode())
        conn, number, size = self.conn, self.id, len(message)
        whole = size + PREFIX.size
        if not self.heard_all or whole > _COPIED or conn.notice or not conn.lets(self, whole):
            self.put(message)
            self.finish(block)
        elif not self.over:
            self.window -= whole
            conn.window -= whole
            conn.write(
                b"".join(
                    (
                        _pack(_BEGINNING_FRAME, END_HEADERS, number), BEGINNING,
                        _pack(whole << 8 | DATA, 0, number), PREFIX.pack(0, size), message,
                        _pack(len(block) << 8 | HEADERS, _LAST, number), block,
                    )
                )
            )  # fmt: skip
            self.forget()

    def put(self, message: bytes | memoryview) -> None:
        """A message of the answer; it leaves as the client takes it."""
        if self.finished:
            return
        encoding = self._encoding()
        if not self.answering:
            self.begin(beginning(encoding))
        if encoding:
            message = compressed(encoding, message)
        prefix = PREFIX.pack(bool(encoding), len(message))
        if len(message) <= _COPIED:
            self.send(b"".join((prefix, message)))
        else:
            self.send(prefix)
            self.send(message)

    async def write(self, message: bytes | memoryview) -> None:
        """The same, and wait until the client has taken enough."""
        self.put(message)
        await self.sent()

    def end(self, code: int, details: str, metadata: Iterable[tuple[str, Any]] = ()) -> None:
        """How it went: the last thing that is said, whatever is said after it."""
        if not self.finished:
            block = tail(code, details, metadata)
            self.finish(block if self.answering else BEGINNING + block)

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Answer by a coroutine; an error that it raises is the answer."""
        self.work = self.conn.server.loop.create_task(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except SalverError as error:
            self.end(*status_of(error))
        except Exception:
            _logger.exception("The gRPC door failed to answer %s:", self.head.path)
            self.end(INTERNAL, "Internal error.")
        finally:
            self.work = None

    def forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._inbox or self._held:  # nobody will take it: others may send instead
            unread = sum(took for _, took in self._inbox or ())
            self.conn.took(unread + self._held)
            self._inbox, self._held = deque(), 0
        Stream.forget(self)

    def _encoding(self) -> str:
        """How messages of the answer are compressed; empty: they are not."""
        if not self.compression or self.compression >= len(ENCODINGS):
            return ""
        encoding = ENCODINGS[self.compression]
        return encoding if encoding in self.head.accepts else ""
