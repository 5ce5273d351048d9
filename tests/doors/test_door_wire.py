"""The door over the real wire and router, before a scripted replica; and its whole process."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from salver.calls.cluster import Cluster
from salver.calls.directory import Directory
from salver.doors.door import HttpDoor
from salver.doors.server import listen
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.status import Delta, DeploymentView, ReplicaView, RouteView
from salver.wire.connection import Connection
from salver.wire.frames import CANCEL, HTTP, REQ, RES
from salver.wire.messages import Hello
from salver.wire.payload import Segments
from salver.wire.rpc import Rpc
from salver.wire.streams import Dialler

SECRET = b"s" * 32
ID = DeploymentId("d", "app")
LIMIT = 60.0

uvloop.new_event_loop().close()  # the first loop of a process opens what all of them share


class Replica:
    """Every caller's frames come here; `on_request` answers, given a request's body."""

    def __init__(self, on_request: Callable[[Connection, int, Any], None]) -> None:
        self.on_request = on_request
        self.cancelled = asyncio.Event()
        self.conn: Connection | None = None

    def opened(self, conn: Connection) -> None:
        self.conn = conn

    def frame(
        self,
        conn: Connection,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        if type == REQ:
            body = payload[aux:] if isinstance(payload, bytes) else b"".join(payload.buffers)
            self.on_request(conn, call_id, body)
        elif type == CANCEL:
            self.cancelled.set()

    def closed(self, conn: Connection, error: Exception | None) -> None:
        pass

    def writable(self, conn: Connection) -> None:
        pass


def reply(conn: Connection, call_id: int, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body)
    conn.send_parts(RES, HTTP, 0, call_id, head, [body])


@asynccontextmanager
async def door_to(
    replica: Replica, directory: Path
) -> AsyncIterator[tuple[int, HttpDoor, Directory]]:
    """A door on a port, whose only replica is this one."""
    dialler = Dialler()
    address = f"unix:{directory}/r.sock"
    listener = await dialler.listen(
        address, lambda: replica, Hello(SECRET, "replica", "r1", os.getpid()), SECRET
    )
    loop = asyncio.get_running_loop()
    cluster = Cluster(str(directory), loop, secret=SECRET, name="door", watch=False)
    door = HttpDoor.of(cluster, HttpSettings(drain_timeout_s=5))
    view = DeploymentView(ID, 10, -1, (ReplicaView("app#d#r1", address),))
    cluster.directory.apply(Delta(1, (view,), (RouteView("/", "app", ID),), True, up=True))
    server = await listen(door, socket.create_server(("127.0.0.1", 0)))
    try:
        yield server.sockets[0].getsockname()[1], door, cluster.directory
    finally:
        server.close()
        door.abort()
        await door.drain()
        cluster.close()
        listener.close()
        await asyncio.sleep(0)
        cluster.dialler.close()
        dialler.close()


async def exchange(port: int, data: bytes, end: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.readuntil(end), LIMIT)
    finally:
        writer.close()


def post(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("size", [0, 1000, 10_000, 65_000, 70_000, 3_000_000])
def test_bodies_of_every_size_arrive_and_come_back(tmp_path: Path, size: int) -> None:
    def echo(conn: Connection, call_id: int, body: bytes) -> None:
        reply(conn, call_id, body + b"END")

    async def run() -> None:
        body = bytes(range(200)) * (size // 200)
        async with door_to(Replica(echo), tmp_path) as (port, *_):
            for _ in range(3):
                out = await exchange(port, post(body), body[-1000:] + b"END")
                assert out.partition(b"\r\n\r\n")[2] == body + b"END"

    uvloop.run(run())


def test_a_client_that_hangs_up_cancels_at_the_replica(tmp_path: Path) -> None:
    async def run() -> None:
        begun = asyncio.Event()
        replica = Replica(lambda _conn, _call_id, _payload: begun.set())
        async with door_to(replica, tmp_path) as (port, *_):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(post(b""))
            await asyncio.wait_for(begun.wait(), LIMIT)
            writer.close()
            await asyncio.wait_for(replica.cancelled.wait(), LIMIT)

    uvloop.run(run())


def test_a_replica_that_dies_at_work_is_a_502_that_says_so(tmp_path: Path) -> None:
    def die(conn: Connection, call_id: int, _body: bytes) -> None:
        conn.board_begun(call_id)
        conn.close("as if it had died")

    async def run() -> None:
        async with door_to(Replica(die), tmp_path) as (port, *_):
            out = await exchange(port, post(b"x"), b"have had effects.")
        assert out.startswith(b"HTTP/1.1 502 ")
        assert b"Replica app#d#r1 died while it worked on this request" in out

    uvloop.run(run())


def test_a_request_whose_deployment_goes_before_it_begins_is_routed_anew(tmp_path: Path) -> None:
    """As after an update that gives the path to another deployment."""
    old = DeploymentId("old", "app")

    async def run() -> None:
        echo = Replica(reply)
        async with door_to(echo, tmp_path) as (port, door, directory):
            (view,), (route,) = directory.views.values(), directory.routes
            nobody = DeploymentView(old, 10, -1)
            directory.apply(Delta(2, (nobody,), (RouteView("/", "app", old),)))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n" + post(b"x END"))
            await reader.readuntil(b"success")
            assert door.in_flight == 1
            gone = DeploymentView(old, 10, -1, gone="It was deleted.")
            directory.apply(Delta(3, (gone, view), (route,)))
            assert (await reader.readuntil(b"END")).startswith(b"HTTP/1.1 200 ")
            writer.close()

            directory.apply(Delta(4, (), (RouteView("/", "app", old),)))
            assert b"503" in await exchange(port, post(b""), b"It was deleted.")
            assert door.in_flight == 0

    uvloop.run(run())


# ---- the process

_SEAT = """
import msgspec, sys
from salver.engine.seat import Seat
from salver.doors.server import main
main(msgspec.json.decode(sys.argv[1], type=Seat))
"""


class Controller:
    """Answers `watch` with one route and waits for `applied`, on a loop in a thread."""

    def __init__(self, directory: Path) -> None:
        self.applied = threading.Event()
        self._directory = directory
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(),))

    def __enter__(self) -> Controller:
        self._thread.start()
        assert self._up.wait(LIMIT)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        dialler = Dialler()
        hello = Hello(SECRET, "controller", "controller", os.getpid())
        links: list[Rpc] = []

        def link() -> Rpc:
            links.append(Rpc({"watch": self._watch(links), "applied": self._was_applied}))
            return links[-1]

        address = f"unix:{self._directory}/control.sock"
        listener = await dialler.listen(address, link, hello, SECRET)
        self._up.set()
        await self._stop.wait()
        listener.close()
        for rpc in links:
            rpc.close()
        await asyncio.sleep(0)
        dialler.close()

    def _watch(self, links: list[Rpc]) -> Callable[[Any], Any]:
        async def watch(_body: Any) -> None:
            view = DeploymentView(ID, 1, -1, (), gone="It was only a test.")
            delta = Delta(1, (view,), (RouteView("/", "app", ID),), True)
            links[-1].notify("changed", msgspec.to_builtins(delta))

        return watch

    async def _was_applied(self, _body: Any) -> None:
        self.applied.set()


def test_the_process_serves_from_the_moment_it_says_so_until_it_is_told_to_stop(
    tmp_path: Path,
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    with socket.create_server(("127.0.0.1", 0)) as listener, Controller(tmp_path) as controller:
        fd = listener.fileno()
        seat = {"id": "ingress", "kind": "ingress", "instance": str(tmp_path), "fds": {"http": fd}}
        door = subprocess.Popen(
            [sys.executable, "-c", _SEAT, msgspec.json.encode(seat).decode()],
            pass_fds=(fd,),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            assert controller.applied.wait(LIMIT)
            client = http.client.HTTPConnection("127.0.0.1", listener.getsockname()[1], LIMIT)
            client.request("GET", "/-/routes")
            assert client.getresponse().read() == b'{"/":"app"}'
            client.request("GET", "/")
            answer = client.getresponse()
            assert (answer.status, answer.read()) == (503, b"It was only a test.")
            door.send_signal(signal.SIGTERM)
            assert door.wait(LIMIT) == 0
            client.close()
        finally:
            door.kill()
            door.wait()
