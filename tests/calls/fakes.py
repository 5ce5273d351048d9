"""A replica without a process: it sees frames and answers when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from salver.calls.call import DONE, Call
from salver.calls.cluster import Cluster
from salver.calls.link import Link
from salver.calls.router import Router
from salver.spec.ids import DeploymentId
from salver.spec.status import Delta, DeploymentView, ReplicaView
from salver.wire import frames
from salver.wire.connection import FrameHandler
from salver.wire.payload import Segments, dump_error, dumps

DEPLOYMENT = DeploymentId("echo", "app")


class FakeConnection:
    """The caller's connection: what is sent goes straight to the fake replica."""

    def __init__(self, replica: FakeReplica, handler: FrameHandler) -> None:
        self.replica = replica
        self.handler = handler
        self.closed = False
        self.last_begun = 0
        self.recalled = 0
        self.number = replica.opened
        replica.opened += 1

    def send(self, kind: int, flags: int, aux: int, call_id: int, payload: bytes = b"") -> None:
        self.replica.frame(self, kind, flags, aux, call_id, payload)

    def hurry(self) -> None:
        """What was sent is here already."""

    def send_parts(
        self,
        kind: int,
        flags: int,
        aux: int,
        call_id: int,
        inline: bytes,
        buffers: Sequence[memoryview],
    ) -> None:
        self.replica.frame(self, kind, flags, aux, call_id, Segments(inline, list(buffers)))

    def begun(self) -> int:
        return self.last_begun

    def recall(self, up_to: int) -> int:
        self.recalled = up_to
        return self.last_begun

    def close(self, reason: str = "") -> None:
        self.cut(None)

    def cut(self, error: Exception | None) -> None:
        if not self.closed:
            self.closed = True
            self.replica.connections.remove(self)
            self.handler.closed(self, error)  # type: ignore[arg-type]

    def back(self, kind: int, flags: int, aux: int, call_id: int, payload: Any = b"") -> None:
        self.handler.frame(self, kind, flags, aux, call_id & 0xFFFFFFFF, payload)  # type: ignore[arg-type]


class FakeReplica:
    """Keeps what callers send; `answer`, `reject`, ... send something back."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.view = ReplicaView(name, f"memory:{name}")
        self.connections: list[FakeConnection] = []
        # Not answered yet, by call id (and the connection's number above bit 32: the first is 0).
        self.calls: dict[int, FakeConnection] = {}
        self.seen: list[tuple[int, int, int, int, Any]] = []
        self.changed = asyncio.Event()
        self.dials = 0
        self.opened = 0
        self.reachable = True

    def frame(
        self, conn: FakeConnection, kind: int, flags: int, aux: int, call_id: int, payload: Any
    ) -> None:
        self.seen.append((kind, flags, aux, call_id, payload))
        key = (conn.number << 32) | call_id
        if kind == frames.REQ:
            self.calls[key] = conn
        elif kind == frames.CANCEL:
            self.calls.pop(key, None)
        self.changed.set()

    async def has(self, calls: int) -> None:
        """Wait until so many calls are under way here."""
        while len(self.calls) != calls:
            self.changed.clear()
            await self.changed.wait()

    def of_type(self, kind: int) -> list[tuple[int, int, int, int, Any]]:
        return [frame for frame in self.seen if frame[0] == kind]

    def answer(self, call_id: int, value: Any = None, *, aux: int | None = None) -> None:
        conn = self.calls.pop(call_id)
        payload, buffers = dumps(value)
        under_way = len(self.calls) if aux is None else aux
        conn.back(
            frames.RES, 0, under_way, call_id, Segments(payload, buffers) if buffers else payload
        )

    def answer_all(self) -> None:
        while self.calls:
            self.answer(next(iter(self.calls)))

    def fail(self, call_id: int, error: Exception) -> None:
        self.calls.pop(call_id).back(frames.ERR, 0, 0, call_id, dump_error(error))

    def reject(self, call_id: int) -> None:
        conn = self.calls.pop(call_id)
        conn.back(frames.REJECT, 0, len(self.calls), call_id)

    def ready(self, others: int = 0xFFFF) -> None:
        """A slot is free; so many are with other callers."""
        for conn in list(self.connections):
            conn.back(frames.READY, 0, others, 0)

    def goaway(self) -> None:
        for conn in list(self.connections):
            conn.back(frames.GOAWAY, 0, 0, 0)

    def item(self, call_id: int, value: Any) -> None:
        self.calls[call_id].back(frames.CHUNK, 0, 0, call_id, dumps(value)[0])

    def end(self, call_id: int) -> None:
        self.calls.pop(call_id).back(frames.END, 0, len(self.calls), call_id)

    def die(self, begun: int = 0) -> None:
        self.calls.clear()
        for conn in list(self.connections):
            conn.last_begun = begun
            conn.cut(ConnectionResetError("the peer is gone"))


class FakeDialler:
    """Connects to fake replicas."""

    def __init__(self, *replicas: FakeReplica) -> None:
        self.replicas = {replica.view.address: replica for replica in replicas}

    async def dial(self, address: str, handler: FrameHandler, hello: Any, secret: bytes) -> Any:
        replica = self.replicas[address]
        replica.dials += 1
        await asyncio.sleep(0)
        if not replica.reachable:
            raise ConnectionRefusedError(address)
        conn = FakeConnection(replica, handler)
        replica.connections.append(conn)
        handler.opened(conn)  # type: ignore[arg-type]
        return conn


class PlainCall(Call):
    """A call that writes down what becomes of it."""

    __slots__ = ("name", "outcome", "where")

    def __init__(self, name: object = "") -> None:
        super().__init__()
        self.name = name
        self.where: list[str] = []
        self.outcome: Any = None

    def send(self, link: Link, call_id: int) -> None:
        self.where.append(link.replica.id)
        link.conn.send(frames.REQ, 0, 0, call_id, b"")

    def answered(self, flags: int, payload: bytes | Segments) -> None:
        self.state = DONE
        self.outcome = "answered"

    def failed(self, error: BaseException) -> None:
        self.state = DONE
        self.outcome = error


class Bench:
    """A cluster on the running loop, with fake replicas."""

    def __init__(self, *names: str, limit: int = 2, queued: int = -1, known: bool = True) -> None:
        self.replicas = [FakeReplica(name) for name in names]
        self.dialler = FakeDialler(*self.replicas)
        self.cluster = Cluster(
            "memory:test",
            asyncio.get_running_loop(),
            secret=b"",
            dialler=self.dialler,  # type: ignore[arg-type]
            watch=False,
        )
        self.limit = limit
        self.queued = queued
        self.version = 0
        if known:
            self.show(*self.replicas)

    @property
    def router(self) -> Router:
        return self.cluster.router(DEPLOYMENT)

    def show(self, *replicas: FakeReplica, gone: str = "") -> None:
        """Publish a view with these replicas."""
        self.version += 1
        view = DeploymentView(
            DEPLOYMENT, self.limit, self.queued, tuple(r.view for r in replicas), gone
        )
        self.cluster.directory.apply(Delta(self.version, (view,)))

    async def settle(self) -> None:
        """Let dials and wake-ups that are due happen."""
        for _ in range(6):
            await asyncio.sleep(0)

    async def connect(self) -> Router:
        """Have every link made."""
        call = PlainCall()
        router = self.router
        router.submit(call)
        await self.settle()
        for replica in self.replicas:
            for call_id in list(replica.calls):
                replica.answer(call_id)
            replica.seen.clear()
        return router

    def submit(self, count: int) -> list[PlainCall]:
        calls = [PlainCall(i) for i in range(count)]
        for call in calls:
            self.router.submit(call)
        return calls
