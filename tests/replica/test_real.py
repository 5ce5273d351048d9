"""A replica over real sockets: in this loop, and as a process with a controller played by hand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from starlette.requests import Request

from salver.errors import SalverError
from salver.replica.host import Host
from salver.spec.app import ImportedCode
from salver.spec.options import DeploymentOptions
from salver.spec.start import Change, Place
from salver.wire import frames
from salver.wire.messages import Hello
from salver.wire.payload import dumps, load_error, loads
from salver.wire.rpc import Rpc
from salver.wire.streams import Dialler, MemoryHub
from tests.replica.scripted import NoCluster, start_spec

SECRET = b"s" * 32
HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


class Service:
    """What runs in the replica."""

    def __init__(self, word: str = "hello") -> None:
        print("constructed")
        self.word = word

    async def __call__(self, request: Request) -> Any:
        return {"message": self.word}

    async def double(self, value: Any) -> Any:
        return value * 2


class Broken:
    def __init__(self) -> None:
        raise ValueError("no weights here")


class Peer:
    """A caller with a real connection."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[tuple[int, int, int, Any]] = asyncio.Queue()
        self.gone = asyncio.Event()

    def opened(self, conn: Any) -> None:
        self.conn = conn

    def frame(self, conn: Any, type: int, flags: int, aux: int, call_id: int, payload: Any) -> None:  # noqa: A002
        self.frames.put_nowait((type, flags, call_id, payload))

    def closed(self, conn: Any, error: Exception | None) -> None:
        self.gone.set()

    def writable(self, conn: Any) -> None: ...

    async def http(self, call_id: int, body: bytes = b"") -> bytes:
        self.conn.send(frames.REQ, frames.HTTP, len(HEAD), call_id, HEAD + body)
        kind, _, answered, payload = await self.frames.get()
        assert (kind, answered) == (frames.RES, call_id)
        return payload if isinstance(payload, bytes) else payload.inline

    async def call(self, call_id: int, method: str, *args: Any) -> Any:
        self.conn.send(frames.NAME, 0, call_id, 0, method.encode())
        data, buffers = dumps((args, {}))
        self.conn.send_parts(frames.REQ, 0, call_id, call_id, data, buffers)
        kind, _, _, payload = await self.frames.get()
        if kind == frames.ERR:
            raise load_error(payload)
        return loads(payload)


async def _dial(dialler: Dialler, address: str) -> Peer:
    peer = Peer()
    await dialler.dial(address, peer, Hello(b"", "caller", "me", os.getpid()), SECRET)
    return peer


@pytest.fixture
def folder() -> Any:
    # Not tmp_path: the address of a Unix socket has little room.
    with tempfile.TemporaryDirectory(prefix="salver-") as name:
        Path(name, "secret").write_bytes(SECRET)
        yield name


@contextlib.asynccontextmanager
async def _diallers() -> AsyncIterator[tuple[Dialler, Dialler]]:
    hub = MemoryHub()
    ours, theirs = Dialler(hub), Dialler(hub)
    yield ours, theirs
    await asyncio.sleep(0)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("scheme", ["unix", "memory"])
async def test_http_and_handle_calls(folder: str, scheme: str) -> None:
    address = f"unix:{folder}/r-1.sock" if scheme == "unix" else "memory:r-1"
    async with _diallers() as (ours, theirs):
        host = Host(
            "app#D#1",
            address=address,
            dialler=theirs,
            secret=SECRET,
            cluster=NoCluster(),  # type: ignore[arg-type]
        )
        await host.start(start_spec(Service))
        peer = await _dial(ours, host.address)
        reply = await peer.http(1)
        assert reply.startswith(b"HTTP/1.1 200 OK\r\n")
        assert reply.endswith(b'{"message":"hello"}')
        assert b"x-request-id: me-1\r\n" in reply
        assert await peer.call(2, "double", 4) == 8
        big = np.arange(1_000_000, dtype=np.float32)
        assert np.array_equal(await peer.call(3, "double", big), big * 2)
        text = "x" * 1_000_000
        assert await peer.call(4, "double", text) == text * 2
        assert peer.conn.begun() in (4, -1) or scheme == "memory"
        await host.stop()
        await peer.gone.wait()
        assert not await asyncio.to_thread(Path(f"{folder}/r-1.sock").exists)


# ---- as a process

PROGRAM = """
import sys
from salver.engine.seat import Seat
from salver.replica.main import main
main(Seat(id=sys.argv[1], kind="replica", instance=sys.argv[2]))
"""


class Controller:
    """Listens where a controller would."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.dialler = Dialler()
        self.attached: asyncio.Queue[tuple[Rpc, Any]] = asyncio.Queue()
        self.listener: Any = None

    async def __aenter__(self) -> Controller:
        hello = Hello(SECRET, "controller", "controller", os.getpid())
        address = f"unix:{self.folder}/control.sock"
        self.listener = await self.dialler.listen(address, self._session, hello, SECRET)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listener.close()
        self.dialler.close()

    def _session(self) -> Rpc:
        rpc = Rpc()
        rpc.methods["attach"] = lambda body: self.attached.put_nowait((rpc, body))
        rpc.methods["watch"] = lambda body: None
        return rpc


@contextlib.asynccontextmanager
async def _process(folder: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        "app#D#abc",
        folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        process._transport.close()  # type: ignore[attr-defined]


async def test_a_replica_process_from_attach_to_exit(folder: str) -> None:
    async with Controller(folder) as controller, _process(folder) as process:
        link, said = await controller.attached.get()
        assert said == {
            "id": "app#D#abc",
            "address": f"unix:{folder}/r-abc.sock",
            "state": "new",
            "place": {"rank": 0, "world_size": 1, "node_rank": 0},
            "route_prefix": None,
        }
        code = ImportedCode("tests.replica.test_real", "Service")
        spec = msgspec.structs.replace(
            start_spec(code, "there"), cwd=folder, sys_path=(str(Path.cwd()),), place=Place(3, 4)
        )
        await link.call("start", spec)
        peer = await _dial(controller.dialler, said["address"])
        assert (await peer.http(1)).endswith(b'{"message":"there"}')
        # The controller dies and comes back.
        link.close()
        link, said = await controller.attached.get()
        assert (said["state"], said["place"]["rank"]) == ("running", 3)
        assert (await link.call("stats"))["calls"] == 1
        assert not await link.call("check_health", {"timeout_s": 60})
        with pytest.raises(SalverError, match="no method to take it"):
            await link.call("reconfigure", Change(DeploymentOptions(user_config=1)))
        assert await link.call("drain", {"timeout_s": 60})
        process.terminate()
        assert await process.wait() == 0
        assert process.stdout is not None
        assert await process.stdout.read() == b"constructed\n"
        await peer.gone.wait()


class Slow:
    """Constructed once somebody writes into the pipe."""

    async def __init__(self, pipe: str) -> None:  # type: ignore[misc]
        print("constructed", flush=True)
        await asyncio.to_thread(Path(pipe).read_text)

    def __call__(self) -> str:
        return "slow"


async def test_a_construction_outlives_the_controller_that_asked_for_it(folder: str) -> None:
    pipe = f"{folder}/pipe"
    os.mkfifo(pipe)
    async with Controller(folder) as controller, _process(folder) as process:
        link, _ = await controller.attached.get()
        code = ImportedCode("tests.replica.test_real", "Slow")
        spec = msgspec.structs.replace(start_spec(code, pipe), sys_path=(str(Path.cwd()),))
        first = asyncio.ensure_future(link.call("start", spec))
        assert process.stdout is not None
        assert await process.stdout.readline() == b"constructed\n"
        link.close()
        with pytest.raises(SalverError):
            await first
        link, said = await controller.attached.get()
        assert said["state"] == "starting"
        again = asyncio.ensure_future(link.call("start", spec))
        await link.call("stats")  # so that it has been asked before the constructor goes on
        await asyncio.to_thread(Path(pipe).write_text, "go on")
        await again
        await link.call("start", spec)  # by a controller that had not heard of its end
        process.terminate()
        assert await process.stdout.read() == b""


async def test_a_failing_constructor_is_told_with_its_traceback(folder: str) -> None:
    async with Controller(folder) as controller, _process(folder):
        link, _ = await controller.attached.get()
        code = ImportedCode("tests.replica.test_real", "Broken")
        spec = msgspec.structs.replace(start_spec(code), sys_path=(str(Path.cwd()),))
        with pytest.raises(SalverError) as caught:
            await link.call("start", spec)
        text = str(caught.value)
        assert text.startswith("Traceback")
        assert text.endswith("ValueError: no weights here")
        assert "in __init__" in text
        assert "salver/replica" not in text
        missing = start_spec(ImportedCode("no_such_module", "X"))
        with pytest.raises(SalverError, match="No module named 'no_such_module'"):
            await link.call("start", missing)


async def test_a_controller_that_dies_while_it_says_hello_costs_no_replica(folder: str) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as held:  # as the keeper holds it
        held.bind(f"{folder}/control.sock")
        held.listen()
        held.setblocking(False)
        controller = Controller(folder)
        async with _process(folder):
            for _ in range(2):
                client, _ = await loop.sock_accept(held)
                client.close()
            hello = Hello(SECRET, "controller", "controller", os.getpid())
            listener = await controller.dialler.listen(
                held.dup(), controller._session, hello, SECRET
            )
            _, said = await controller.attached.get()
            assert said["state"] == "new"
            listener.close()
            controller.dialler.close()


async def test_a_replica_ends_when_its_instance_is_gone(folder: str) -> None:
    async with _process(folder) as process:  # nobody listens
        assert await process.wait() == 0
