"""Who hangs up, or changes his mind, stops the work: here, in children elsewhere, and in queues."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.real.rig import Journal, Running, apps


@pytest.mark.parametrize("how", ["reset", "close", "half-close"])
@pytest.mark.parametrize("name", ["one", "apart"])
async def test_a_client_that_hangs_up_stops_the_handler_and_its_children(
    running: Running, journal: Journal, how: str, name: str
) -> None:
    """Also children that nobody awaits. Both replicas are free again afterwards."""
    child = apps.Patient.options(name="Child", max_ongoing_requests=1).bind(journal.path)
    await running.deploy(
        apps.Patient.options(max_ongoing_requests=1).bind(journal.path, child), "app"
    )
    async with running.client() as client:
        await client.send(f"/?id={name}")
        await journal.until(f"begun {name}", f"begun {name}-child")
        if how == "reset":
            client.cut()
        elif how == "half-close":  # which cannot be told from a close
            (await client.connect()).write_eof()
            assert await client.reader.read() == b""
            await client.close()
        else:
            await client.close()
        await journal.until(f"cancelled {name}", f"cancelled {name}-child")
        assert (await client.get("/")).text == "here"
    child_handle = running.handle("Child")
    waiting = asyncio.ensure_future(child_handle.wait.remote("next"))
    await journal.until("begun next")
    waiting.cancel()
    await journal.until("cancelled next")


async def test_what_waits_for_a_client_that_hung_up_never_starts(
    running: Running, journal: Journal
) -> None:
    await running.deploy(apps.Patient.options(max_ongoing_requests=1).bind(journal.path))
    clients = [running.client() for _ in range(5)]
    await clients[0].send("/?id=first")
    await journal.until("begun first")
    for number, client in enumerate(clients[1:]):
        await client.send(f"/?id=waiting{number}")
    for client in clients[1:]:
        client.cut()
    async with running.client() as last:
        for _ in range(2):  # the door has seen to it that they are gone when it answers twice
            assert (await last.get("/-/healthz")).text == "success"
        reply = asyncio.ensure_future(last.get("/"))
        clients[0].cut()
        assert (await reply).text == "here"
    assert journal.named("begun") == ["first"]


async def test_handles_cancel_in_other_processes(running: Running, journal: Journal) -> None:
    """By `.cancel()` and by a cancelled task; children go with it, what waits never starts."""
    child = apps.Patient.options(name="Child").bind(journal.path)
    await running.deploy(
        apps.Patient.options(max_ongoing_requests=1).bind(journal.path, child), "app"
    )
    handle = running.handle("Patient")
    first = handle.wait.remote("one")
    await journal.until("begun one-child")
    second = asyncio.ensure_future(handle.wait.remote("two"))
    third = handle.wait.remote("three")
    await asyncio.sleep(0)
    second.cancel()
    third.cancel()
    first.cancel()
    await journal.until("cancelled one", "cancelled one-child")
    last = asyncio.ensure_future(handle.wait.remote("last"))
    await journal.until("begun last-child")
    last.cancel()
    await journal.until("cancelled last", "cancelled last-child")
    assert journal.named("begun") == ["one", "one-child", "last", "last-child"]


async def test_children_of_a_killed_caller_are_stopped(running: Running, journal: Journal) -> None:
    """The connection of the dead replica says so; a parent that dies leaves no work behind."""
    child = apps.Patient.options(name="Child").bind(journal.path)
    await running.deploy(apps.Patient.bind(journal.path, child), "app")
    async with running.client() as client:
        await client.send("/?id=one")
        await journal.until("begun one-child")
        os.kill(running.pids("Patient")[0], 9)
        assert (await client.reply()).status == 502
        await journal.until("cancelled one-child")


def memory_of(pid: int) -> int:
    """Bytes that only this process has, and shared memory that it maps."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line
    )
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem")) * 1024


@pytest.mark.parametrize("size", [1000, 1 << 20])
async def test_a_client_that_never_reads_grows_no_memory(
    running: Running, journal: Journal, size: int
) -> None:
    """The generator stands still once what is on its way is full; a hang-up closes it."""
    await running.deploy(apps.Streamer.bind(journal.path))
    handle = running.handle("Streamer")
    async with running.client() as warm:
        await warm.send("/?size=1000")
        await warm.head()
    await journal.next("closed")
    (ingress,), (replica,) = running.pids("ingress"), running.pids("Streamer")
    before = memory_of(ingress), memory_of(replica)
    clients = [running.client() for _ in range(8)]
    for client in clients:
        await client.send(f"/?size={size}")
        await client.head()
    sent, known = -1, 0
    while sent != known:  # each call is a round trip through the replica's loop
        sent = known
        for _ in range(50):
            known = await handle.count.remote()
    grown = memory_of(ingress) - before[0], memory_of(replica) - before[1]
    assert max(grown) < 64 << 20, f"{grown} after {sent} pieces of {size}"
    for client in clients:
        client.cut()
    for _ in clients:
        await journal.next("closed")


async def test_a_slow_reader_gets_every_byte(running: Running, journal: Journal) -> None:
    """Reading again lets the stream go on where it stood."""
    await running.deploy(apps.Streamer.bind(journal.path))
    async with running.client() as client:
        await client.send("/?size=300000")
        await client.head()
        pieces = 0
        async for piece in client.chunks():
            assert piece == bytes(300000)
            pieces += 1
            if pieces == 40:
                break
        client.cut()
    await journal.next("closed")
