"""A door without sockets, processes or time: bytes in, bytes out, and a scripted replica."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from typing import Any

from salver.calls.call import DONE, QUEUED, SENT, Call
from salver.doors.door import HttpDoor
from salver.doors.protocol import HttpProtocol
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.status import RouteView
from salver.wire.frames import CANCEL, CREDIT, END, HTTP, REQ, RES, STREAM

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class FakeClock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.calls: list[tuple[float, int, FakeHandle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeHandle:
        handle = FakeHandle(callback)
        heapq.heappush(self.calls, (when, id(handle), handle))
        return handle

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.calls and self.calls[0][0] <= end:
            when, _, handle = heapq.heappop(self.calls)
            self.now = max(self.now, when)
            if not handle.cancelled:
                handle.callback()
        self.now = end

    @property
    def armed(self) -> int:
        return sum(not handle.cancelled for _, _, handle in self.calls)


class FakeHandle:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTransport(asyncio.Transport):
    """What a client sees of the door; `taken` False: it reads nothing."""

    def __init__(self, peer: tuple[str, int] | None = None) -> None:
        super().__init__({"peername": peer})
        self.out = bytearray()
        self.reading = True
        self.closing = False
        self.aborted = False
        self.ended = False
        self.reads = True
        self.unread = 0
        self.high = 65536
        self.low = 16384
        self.blocked = False
        self.protocol: HttpProtocol | None = None

    def write(self, data: Any) -> None:
        assert not self.ended, "written after the end"
        if self.closing:
            return
        self.out += data
        if not self.reads:
            self.unread += len(data)
            self._check()

    def writelines(self, list_of_data: Any) -> None:
        for data in list_of_data:
            self.write(data)

    def _check(self) -> None:
        assert self.protocol is not None
        if self.unread > self.high and not self.blocked:
            self.blocked = True
            self.protocol.pause_writing()

    def take(self) -> None:
        """The client reads everything."""
        assert self.protocol is not None
        self.unread = 0
        if self.blocked:
            self.blocked = False
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return self.unread

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = self.low = high or 0
        self._check()


class FakeConn:
    """Frames to the replica, recorded."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, int, int, bytes]] = []
        self.lent: list[Any] = []

    def send(self, type: int, flags: int, aux: int, call_id: int, payload: bytes = b"") -> None:  # noqa: A002
        self.frames.append((type, flags, aux, call_id, bytes(payload)))

    def hurry(self) -> None:
        """What was sent is recorded already."""

    def send_parts(
        self,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        inline: bytes,
        buffers: Any,
    ) -> None:
        self.lent += buffers
        self.frames.append((type, flags, aux, call_id, inline))


class FakeReplicaView:
    id = "app#dep#r1"


class FakeLink:
    def __init__(self) -> None:
        self.conn = FakeConn()
        self.name = "door-1"
        self.replica = FakeReplicaView()


class FakeRouter:
    """Takes every call at once, unless told to hold or to fail; the test plays the replica."""

    def __init__(self) -> None:
        self.link = FakeLink()
        self.calls: list[Any] = []
        self.cancelled: list[Any] = []
        self.hold = False
        self.error: BaseException | None = None
        self.answer: bytes | None = None

    def submit(self, call: Call) -> None:
        call.router = self  # type: ignore[assignment]
        self.calls.append(call)
        if self.error is not None:
            call.failed(self.error)
        elif not self.hold:
            self.start(call)
            if self.answer is not None:
                call.answered(HTTP, self.answer)

    def start(self, call: Call) -> None:
        call.state = SENT
        call.call_id = len(self.calls)
        call.link = self.link  # type: ignore[assignment]
        call.send(self.link, call.call_id)  # type: ignore[arg-type]

    def cancel(self, call: Call) -> None:
        state, call.state = call.state, DONE
        self.cancelled.append(call)
        if state not in (QUEUED, DONE):
            self.link.conn.send(CANCEL, 0, 0, call.call_id)

    def of(self, type: int) -> list[tuple[int, int, int, int, bytes]]:  # noqa: A002
        return [frame for frame in self.link.conn.frames if frame[0] == type]

    @property
    def requests(self) -> list[bytes]:
        return [frame[4] for frame in self.of(REQ)]


class FakeSlab:
    def __init__(self, size: int) -> None:
        self.room = memoryview(bytearray(1 << (size - 1).bit_length()))
        self.view = self.room[:size]
        self.size = size
        self.released = 0

    def release(self) -> None:
        self.released += 1


class Scene:
    """One door, one route, one scripted replica, any number of clients."""

    def __init__(
        self,
        settings: HttpSettings | None = None,
        *,
        arena: bool = False,
        numbers: Callable[[], Awaitable[str]] | None = None,
        routed: bool = True,
    ) -> None:
        self.clock = FakeClock()
        self.router = FakeRouter()
        self.slabs: list[FakeSlab] = []
        clock: Any = self.clock  # has what the door asks of a loop: `time` and `call_at`
        router: Any = self.router
        lend: Any = self.lend if arena else lambda _size: None
        self.door = HttpDoor(settings or HttpSettings(), clock, lambda _id: router, lend, numbers)
        self.door.apply([RouteView("/", "app", DeploymentId("dep", "app"))] if routed else [])

    def lend(self, size: int) -> FakeSlab:
        self.slabs.append(FakeSlab(size))
        return self.slabs[-1]

    def client(self, peer: tuple[str, int] | None = None) -> Client:
        return Client(self, peer)


class Client:
    """One connection, from the client's end."""

    def __init__(self, scene: Scene, peer: tuple[str, int] | None = None) -> None:
        self.transport = FakeTransport(peer)
        self.protocol = scene.door.protocol()
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)

    def send(self, data: bytes, cut: int = 1 << 30) -> None:
        """Let the kernel deliver these bytes, in pieces of `cut`, as it does: into the buffer."""
        at = 0
        while at < len(data) and not self.transport.closing:
            buffer = self.protocol.get_buffer(-1)
            piece = data[at : at + min(cut, len(buffer))]
            buffer[: len(piece)] = piece
            buffer.release() if len(buffer) == 0 else None
            self.protocol.buffer_updated(len(piece))
            at += len(piece)

    @property
    def out(self) -> bytes:
        return bytes(self.transport.out)

    @property
    def status(self) -> int:
        return int(self.out[9:12])

    def over(self) -> bool:
        """The door has ended its side."""
        return self.transport.closing or self.transport.ended

    def reading(self) -> bool:
        return self.transport.reading

    def closing(self) -> bool:
        return self.transport.closing

    def aborted(self) -> bool:
        return self.transport.aborted

    def leave(self) -> None:
        self.protocol.connection_lost(None)


def chunks(call: Any, *parts: bytes) -> None:
    """Answer a call by a stream."""
    call.answered(HTTP | STREAM, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for part in parts:
        call.chunk(HTTP, part)


__all__ = ("CREDIT", "END", "OK", "RES", "Client", "Scene", "chunks")
