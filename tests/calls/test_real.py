"""Calls between real processes over real sockets, with a small replica and a small controller."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from salver.calls.cluster import Cluster
from salver.calls.handle import DeploymentHandle
from salver.errors import DeploymentUnavailableError, ReplicaDiedError, WireError
from salver.spec.ids import DeploymentId
from salver.spec.status import Delta, DeploymentView, ReplicaView
from salver.wire.messages import Hello
from salver.wire.rpc import Rpc
from salver.wire.streams import Dialler, Limits, Listener

HERE = Path(__file__).parent
SOURCE = str(HERE.parents[1] / "src")
DEPLOYMENT = DeploymentId("echo", "app")


class Instance:
    """A runtime directory with a controller in the test's loop and replicas in processes."""

    def __init__(self, directory: str) -> None:
        self.address = directory
        self.secret = os.urandom(32)
        Path(directory, "secret").write_bytes(self.secret)
        self.dialler = Dialler()
        self.listener: Listener | None = None
        self.watchers: list[Rpc] = []
        self.applied: asyncio.Queue[int] = asyncio.Queue()
        self.replicas: dict[str, asyncio.subprocess.Process] = {}
        self.limit = 100
        self.version = 0

    async def start(self) -> None:
        hello = Hello(b"", "controller", "controller", os.getpid())
        self.listener = await self.dialler.listen(
            f"unix:{self.address}/control.sock", self._accept, hello, self.secret
        )

    def _accept(self) -> Rpc:
        rpc: Rpc

        def watch(body: Any) -> None:
            self.watchers.append(rpc)
            rpc.notify("changed", self.delta(full=True))

        def gone(*_: object) -> None:
            if rpc in self.watchers:
                self.watchers.remove(rpc)

        def applied(body: Any) -> None:
            self.applied.put_nowait(body["version"])

        rpc = Rpc({"watch": watch, "applied": applied}, on_close=gone)
        return rpc

    def delta(self, *, full: bool = False, gone: str = "") -> Delta:
        replicas = tuple(ReplicaView(n, f"unix:{self.address}/{n}.sock") for n in self.replicas)
        view = DeploymentView(DEPLOYMENT, self.limit, -1, () if gone else replicas, gone)
        return Delta(self.version, (view,), full=full)

    def publish(self, *, gone: str = "") -> None:
        self.version += 1
        for rpc in self.watchers:
            rpc.notify("changed", self.delta(gone=gone))

    async def add(self, name: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "replica.py"),
            f"{self.address}/{name}.sock",
            self.secret.hex(),
            str(self.limit),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": SOURCE},
        )
        self.replicas[name] = process
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    def cut(self) -> None:
        """The controller is gone; its socket still takes connections, as the keeper's does."""
        for rpc in list(self.watchers):
            rpc.close()

    async def stop(self) -> None:
        for process in self.replicas.values():
            if process.returncode is None:
                process.kill()
        for process in self.replicas.values():
            await process.wait()
            process._transport.close()  # type: ignore[attr-defined]
        self.cut()
        if self.listener is not None:
            self.listener.close()
        await asyncio.sleep(0)
        self.dialler.close()


@pytest_asyncio.fixture
async def instance() -> AsyncIterator[Instance]:
    with tempfile.TemporaryDirectory(prefix="salver-") as directory:
        instance = Instance(directory)
        await instance.start()
        await instance.add("a")
        yield instance
        known = Cluster._known.get(directory)
        if known is not None:
            await asyncio.to_thread(known.close)
        await instance.stop()


@pytest.fixture
def handle(instance: Instance) -> DeploymentHandle[Any]:
    return DeploymentHandle(DEPLOYMENT, instance.address)


async def test_a_script_without_a_loop_calls_and_gets_results_and_errors(
    handle: DeploymentHandle[Any],
) -> None:
    def script() -> None:
        responses = [handle.remote(n) for n in range(200)]
        assert [r.result(timeout_s=60) for r in responses] == list(range(200))
        with pytest.raises(ValueError, match=r"^too bad"):
            handle.fail.remote("too bad").result()

    await asyncio.to_thread(script)


async def test_another_loop_awaits_and_iterates(handle: DeploymentHandle[Any]) -> None:
    assert await asyncio.gather(*(handle.remote(n) for n in range(50))) == list(range(50))
    stream = handle.options(stream=True).count.remote(1000)
    assert [item async for item in stream] == list(range(1000))
    async for item in handle.options(stream=True).count.remote(10**9):
        if item == 100:
            break
    while not await handle.cancels.remote():
        pass
    assert await asyncio.to_thread(
        lambda: list(handle.options(stream=True).count.remote(300))
    ) == list(range(300))


async def test_results_go_from_call_to_call_small_and_large(handle: DeploymentHandle[Any]) -> None:
    large = np.arange(100_000)
    one, two = handle.remote(large), handle.remote(large)
    total = await handle.add.remote(one, two, 1)
    assert (total == large * 2 + 1).all()
    assert await handle.add.remote(handle.remote(1), handle.remote(2)) == 3
    with pytest.raises(ValueError, match=r"^upstream"):
        await handle.add.remote(handle.fail.remote("upstream"), 1)
    text = "x" * 3_000_000
    assert await handle.remote(text) == text


async def test_a_killed_replica_fails_what_it_had_begun_and_the_rest_goes_elsewhere(
    instance: Instance, handle: DeploymentHandle[Any]
) -> None:
    begun = [handle.hold.remote() for _ in range(3)]
    while await handle.holding.remote() < 3:
        pass
    await instance.add("b")
    process = instance.replicas["a"]
    os.kill(process.pid, signal.SIGSTOP)  # it takes frames, and begins nothing more
    frozen = [handle.remote(n) for n in range(50)]
    frozen_stream = handle.options(stream=True).count.remote(3)
    instance.publish()
    while await instance.applied.get() < instance.version:
        pass
    process.kill()
    assert await asyncio.gather(*frozen) == list(range(50))
    assert [item async for item in frozen_stream] == [0, 1, 2]
    for response in begun:
        with pytest.raises(ReplicaDiedError, match=r"^Replica a died"):
            await response
    assert await handle.pid.remote() == instance.replicas["b"].pid


async def test_a_full_replica_is_shared_by_two_callers(
    instance: Instance, handle: DeploymentHandle[Any]
) -> None:
    instance.limit = 1
    await instance.add("a2")
    # The first one keeps its own limit; out of the view, it is not used.
    instance.replicas, every = {"a2": instance.replicas["a2"]}, instance.replicas
    instance.publish()
    try:
        other = Cluster(instance.address, asyncio.get_running_loop(), secret=instance.secret)
        mine = DeploymentHandle[Any](DEPLOYMENT, instance.address)
        mine._router = other.router(DEPLOYMENT)
        results = await asyncio.gather(
            *(handle.remote(n) for n in range(100)), *(mine.remote(n) for n in range(100))
        )
        assert results == [*range(100), *range(100)]
    finally:
        await other.aclose()
        instance.replicas = every


async def test_calls_go_on_without_a_controller_and_the_next_one_is_heard(
    instance: Instance, handle: DeploymentHandle[Any]
) -> None:
    assert await handle.remote(1) == 1
    instance.cut()
    assert await handle.remote(2) == 2
    await instance.add("b")
    instance.version = 0  # another controller counts anew
    instance.publish()
    pids = {await handle.pid.remote() for _ in range(2)}
    while len(pids) < 2:
        pids.add(await handle.pid.remote())


async def test_a_controller_that_is_stopped_is_waited_for(tmp_path: Path) -> None:
    """As long as its socket listens: nobody takes these dials, and none may be taken for lost."""
    control = socket.socket(socket.AF_UNIX)
    control.bind(str(tmp_path / "control.sock"))
    control.listen()
    impatient, dialler = Dialler(limits=Limits(hello_s=0.0)), Dialler()
    cluster = Cluster(str(tmp_path), asyncio.get_running_loop(), secret=b"", dialler=impatient)
    cluster.start()
    for _ in range(50):
        with pytest.raises(WireError):
            await cluster.dial(f"unix:{tmp_path}/control.sock", Rpc(), "impatient")
    assert not cluster.closed
    watched = asyncio.Event()
    listener = await dialler.listen(
        control,
        lambda: Rpc({"watch": lambda _: watched.set()}),
        Hello(b"", "controller", "c", 1),
        b"",
    )
    await watched.wait()
    await cluster.aclose()
    listener.close()
    await asyncio.sleep(0)
    impatient.close()
    dialler.close()


async def test_a_deleted_deployment_is_told_to_those_who_wait(
    instance: Instance, handle: DeploymentHandle[Any]
) -> None:
    assert await handle.remote(1) == 1
    instance.publish(gone="App 'app' was deleted.")
    while await instance.applied.get() < instance.version:
        pass
    with pytest.raises(DeploymentUnavailableError, match=r"^App 'app' was deleted\.$"):
        await handle.remote(1)


async def test_when_the_instance_ends_calls_fail_instead_of_waiting(
    instance: Instance, handle: DeploymentHandle[Any]
) -> None:
    assert await handle.remote(1) == 1
    waiting = handle.hold.remote()
    assert instance.listener is not None
    instance.listener.close()
    instance.cut()
    with pytest.raises(DeploymentUnavailableError, match="is not running any more"):
        await waiting


async def test_a_script_ends_quietly_and_its_forked_child_calls_too(instance: Instance) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "driver.py"),
        instance.address,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": SOURCE},
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    process._transport.close()  # type: ignore[attr-defined]
    assert err.decode() == ""
    assert out.decode().split() == ["parent", "thread", "child", "0", "after"]
    assert process.returncode == 0
