"""The door over time: updates, deaths, queues, time limits, its end; and what cannot be opened."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from echo_pb2 import Word
from echo_pb2_grpc import EchoStub

from salver.errors import EngineError, TargetError
from salver.launch import Capacity, Instance
from salver.spec.grpc import gRPCOptions
from salver.spec.http import HttpSettings
from tests.doors.grpc.conftest import SERVICES
from tests.doors.grpc.queueing import the_one_that_waits
from tests.real.rig import Journal, Running

LIMIT_S = 60


@pytest.fixture
def running() -> Iterator[Running]:
    """An instance of its own for each test here."""
    options = gRPCOptions(port=0, grpc_servicer_functions=SERVICES, drain_timeout_s=60)
    with Running.start(grpc=options) as running:
        yield running


def address_of(running: Running) -> str:
    assert running.instance.grpc_address
    return running.instance.grpc_address


def own_channel(running: Running) -> grpc.aio.Channel:
    """With a connection of its own: others share one, which may be to a door that has died."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(address_of(running), options=own)


async def code_of(call: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = await call.code()
    return code


async def test_one_app_needs_no_name(running: Running, apps: Any) -> None:
    async with grpc.aio.insecure_channel(address_of(running)) as channel:
        call = EchoStub(channel).Say(Word(), wait_for_ready=True, timeout=LIMIT_S)
        assert await code_of(call) is grpc.StatusCode.NOT_FOUND
        await running.deploy(apps.Speaker.bind(), "one", None)
        assert (await EchoStub(channel).Say(Word(text="a"))).text == "a!"


async def test_an_app_runs_when_the_door_knows_it(running: Running, apps: Any) -> None:
    await running.deploy(apps.Speaker.bind(), "one", None)
    assert sorted(name.split("-")[0] for name in (await running.status()).proxies) == [
        "grpc", "ingress"
    ]  # fmt: skip


async def test_a_killed_replica_fails_the_calls_that_had_begun_only(
    running: Running, apps: Any
) -> None:
    await running.deploy(apps.Speaker.bind(), "one", None)
    async with grpc.aio.insecure_channel(address_of(running)) as channel:
        call = EchoStub(channel).Act(Word(text="kill"))
        assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
        assert "died while it worked on this request" in await call.details()
        assert (await EchoStub(channel).Say(Word(text="a"), timeout=LIMIT_S)).text == "a!"


async def test_a_full_queue_is_resource_exhausted(
    running: Running, apps: Any, journal: Journal
) -> None:
    await running.deploy(apps.Slow.bind(journal.path), "slow", None)
    async with grpc.aio.insecure_channel(address_of(running)) as channel:
        first = EchoStub(channel).Say(Word(text="first"))
        await journal.until("begun first")
        others = (EchoStub(channel).Say(Word(text="other")) for _ in range(2))
        for call in (first, await the_one_that_waits(*others)):
            call.cancel()


async def test_an_update_loses_no_call(running: Running, apps: Any) -> None:
    await running.deploy(apps.Speaker.bind(), "one", None)
    asking = Asking(address_of(running), 8)
    for _ in range(3):
        await asking.until(30)
        await running.deploy(apps.Speaker.bind(), "one", None)
    await asking.until(30)
    await asking.end()
    assert asking.failures == []


async def test_a_door_that_dies_is_there_again_at_the_same_port(
    running: Running, apps: Any
) -> None:
    await running.deploy(apps.Speaker.bind(), "one", None)
    for _ in range(2):
        (door,) = running.pids("grpc")
        dying = psutil.Process(door)
        dying.kill()
        await asyncio.to_thread(dying.wait)
        async with own_channel(running) as channel:
            call = EchoStub(channel).Say(Word(text="a"), wait_for_ready=True, timeout=LIMIT_S)
            assert (await call).text == "a!"
    assert running.pids("grpc") != [door]


class Asking:
    """Clients with a connection each, which call without pause and note how it goes."""

    def __init__(self, address: str, clients: int) -> None:
        self.answers = 0
        self.failures: list[grpc.aio.AioRpcError] = []
        self.grown = asyncio.Event()
        self._over = False
        self._tasks = [asyncio.ensure_future(self._ask(address)) for _ in range(clients)]

    async def _ask(self, address: str) -> None:
        own = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(address, options=own) as channel:
            while not self._over:
                try:
                    assert (await EchoStub(channel).Say(Word(text="a"))).text == "a!"
                    self.answers += 1
                    self.grown.set()
                except grpc.aio.AioRpcError as error:
                    self.failures.append(error)
                    return

    async def until(self, more: int) -> None:
        """Return when so many more answers are there."""
        wanted = self.answers + more
        async with asyncio.timeout(LIMIT_S):
            while self.answers < wanted:
                self.grown.clear()
                await self.grown.wait()

    async def end(self, *, now: bool = True) -> None:
        """Ask no more; `now=False`: only once nobody answers any more."""
        self._over = now
        await asyncio.gather(*self._tasks)


async def test_a_door_that_is_told_to_end_loses_no_call_and_the_next_one_takes_on(
    running: Running, apps: Any
) -> None:
    await running.deploy(apps.Speaker.bind(), "one", None)
    asking = Asking(address_of(running), 8)
    await asking.until(100)
    (door,) = running.pids("grpc")
    ending = psutil.Process(door)
    ending.terminate()
    await asyncio.to_thread(ending.wait)
    await asking.until(100)
    await asking.end()
    assert asking.failures == []
    assert running.pids("grpc") != [door]


async def test_the_end_loses_no_call_that_has_begun(
    running: Running, apps: Any, tmp_path: Path
) -> None:
    served = tmp_path / "served"
    await running.deploy(apps.Counting.bind(str(served)), "one", None)
    asking = Asking(address_of(running), 8)
    await asking.until(100)
    await asyncio.to_thread(running.instance.stop)
    await asking.end(now=False)
    # What comes after the app has gone and before the door has is told that there is none.
    refused = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND}
    assert len(asking.failures) == 8
    assert {error.code() for error in asking.failures} <= refused
    assert served.read_text() == str(asking.answers)


async def test_a_door_that_dies_ends_its_calls_at_both_ends(
    running: Running, apps: Any, journal: Journal
) -> None:
    await running.deploy(apps.Slow.bind(journal.path), "slow", None)
    for kind in ("Say", "Repeat"):
        async with own_channel(running) as channel:
            call = getattr(EchoStub(channel), kind)(
                Word(text=kind), wait_for_ready=True, timeout=LIMIT_S
            )
            await journal.until(f"begun {kind}")
            running.kill("grpc")
            assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
            await journal.until(f"cancelled {kind}")


async def test_a_replica_that_dies_ends_its_streams(running: Running, apps: Any) -> None:
    await running.deploy(apps.Speaker.bind(), "one", None)
    async with grpc.aio.insecure_channel(address_of(running)) as channel:
        for _ in range(2):
            call = EchoStub(channel).Chat(timeout=LIMIT_S)
            await call.write(Word(text="a"))
            assert (await call.read()).text == "A"
            running.kill("Speaker")
            assert await code_of(call) is grpc.StatusCode.UNAVAILABLE
            assert "died while it worked on this request" in await call.details()


async def test_an_answer_above_the_limit_is_resource_exhausted(apps: Any) -> None:
    options = gRPCOptions(port=0, grpc_servicer_functions=SERVICES, max_send_message_bytes=1 << 20)
    with Running.start(grpc=options) as running:
        await running.deploy(apps.Speaker.bind(), "one", None)
        async with grpc.aio.insecure_channel(address_of(running)) as channel:
            for size, code in ((1 << 19, "OK"), (1 << 20, "RESOURCE_EXHAUSTED"), (0, "OK")):
                call = EchoStub(channel).Say(Word(data=bytes(size)))
                assert (await code_of(call)).name == code
                assert ("max_send_message_bytes" in await call.details()) == (code != "OK")
                call = EchoStub(channel).Repeat(Word(data=bytes(size), times=2), timeout=LIMIT_S)
                with suppress(grpc.aio.AioRpcError):
                    assert len([word async for word in call]) == 2
                assert (await code_of(call)).name == code
        assert "Traceback" not in running.log.text


async def test_the_end_lets_calls_finish_and_refuses_new_ones(
    running: Running, apps: Any, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    await running.deploy(apps.Gated.bind(str(gate)), "gated", None)
    async with grpc.aio.insecure_channel(address_of(running)) as channel:
        call = EchoStub(channel).Repeat(Word(text="a"))
        assert (await call.read()).text == "a"
        stopping = asyncio.create_task(asyncio.to_thread(running.instance.stop))
        await running.log.until(r"closing: 1 gRPC calls")
        async with own_channel(running) as late:
            while (code := await code_of(EchoStub(late).Say(Word()))) in (
                grpc.StatusCode.UNIMPLEMENTED,  # answered: it came before the client knew
                grpc.StatusCode.CANCELLED,  # it came just as the door closed
            ):
                pass
            assert code is grpc.StatusCode.UNAVAILABLE
        await asyncio.to_thread(gate.write_text, "go on")
        assert (await call.read()).text == "go on"
        assert await call.read() is grpc.aio.EOF
        assert await code_of(call) is grpc.StatusCode.OK
        await stopping


async def test_a_time_limit_ends_the_call_and_names_its_setting(
    apps: Any, journal: Journal
) -> None:
    options = gRPCOptions(port=0, grpc_servicer_functions=SERVICES, request_timeout_s=1)
    with Running.start(grpc=options) as running:
        await running.deploy(apps.Slow.bind(journal.path), "slow", None)
        async with grpc.aio.insecure_channel(address_of(running)) as channel:
            for kind in ("Say", "Repeat"):
                call = getattr(EchoStub(channel), kind)(Word(text="late"))
                if kind == "Repeat":
                    await call.read()
                assert await code_of(call) is grpc.StatusCode.DEADLINE_EXCEEDED
                assert "grpc_options.request_timeout_s" in await call.details()
                await journal.next("cancelled")


# ---- what cannot be opened


def start(**options: Any) -> None:
    Instance.start(
        HttpSettings(port=0), Capacity(), grpc=gRPCOptions(**options)
    ).wait_bound().kill()


@pytest.mark.parametrize(
    ("function", "why"),
    [
        ("nowhere.add_X", "it cannot be imported: No module named 'nowhere'"),
        ("echo_pb2_grpc.add_X", "'echo_pb2_grpc' has no 'add_X'"),
        ("add_X", "it names no module"),
        ("echo_pb2_grpc.EchoStub", "it failed"),
        ("echo_pb2_grpc.GRPC_VERSION", "which cannot be called"),
        ("builtins.print", "it registered no service"),
    ],
)
def test_a_servicer_function_that_is_none_is_told(function: str, why: str) -> None:
    with pytest.raises(TargetError, match=r"grpc_servicer_functions: ") as caught:
        start(port=0, grpc_servicer_functions=[function])
    assert why in str(caught.value)
    assert "such as 'hello_pb2_grpc.add_HelloServicer_to_server'" in str(caught.value)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("salver.replica.grpc.services.find_spec", lambda _name: None)
    with pytest.raises(TargetError, match=r"needs grpcio, .*: pip install 'salver\[grpc\]'\."):
        start(port=0, grpc_servicer_functions=SERVICES)


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_in_use_is_refused_even_where_it_could_be_shared(shared: bool) -> None:
    with socket.socket() as taken:
        if shared:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(EngineError, match=r"the port is in use.*--grpc-port"):
            start(port=port, grpc_servicer_functions=SERVICES)


def test_two_instances_never_share_a_port(running: Running) -> None:
    port = int(address_of(running).rpartition(":")[2])
    with pytest.raises(EngineError, match="the port is in use"):
        start(port=port, grpc_servicer_functions=SERVICES)


def test_without_services_there_is_no_door() -> None:
    with Running.start(grpc=gRPCOptions(port=1)) as running:
        assert running.instance.grpc_address == ""
        assert running.pids("grpc") == []
