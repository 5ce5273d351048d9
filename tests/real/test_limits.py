"""Limits hold across every caller at once: the door, handles here and handles in other replicas."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.real.rig import PATIENCE_S, Client, Journal, Reply, Running, apps


@pytest.mark.parametrize("kind", ["Alone", "ThreadedAlone"])
async def test_a_replica_that_wants_one_request_never_has_two(running: Running, kind: str) -> None:
    """Clients, a relay's handle and a handle in this process together."""
    await running.deploy(getattr(apps, kind).bind(), "alone", "/alone")
    await running.deploy(apps.Relay.bind(getattr(apps, kind).bind()), "relay", "/relay")
    handle = running.handle(kind, "relay")
    seen: list[str] = []

    async def ask(path: str) -> None:
        async with running.client() as client:
            for _ in range(25):
                reply = await client.get(path)
                assert reply.status == 200
                seen.append(reply.text)

    async def call() -> None:
        seen.extend([str(await handle.remote()) for _ in range(25)])

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(ask("/alone"))
            group.create_task(ask("/relay"))
            group.create_task(call())
    assert len(seen) == 600
    assert set(seen) == {"1"}


async def test_a_full_queue_says_when_to_come_back(running: Running, journal: Journal) -> None:
    """One runs, two wait, and of the others each is told at once; the waiting are served."""
    app = apps.Patient.options(max_ongoing_requests=1, max_queued_requests=2)
    await running.deploy(app.bind(journal.path), "app")
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(running.client()) for _ in range(6)]
        await clients[0].send("/?id=first")
        await journal.until("begun first")
        others = [asyncio.create_task(client.get("/")) for client in clients[1:]]
        refused: list[Reply] = []
        for done in asyncio.as_completed(others):
            refused.append(await done)
            if len(refused) == 3:
                break
        assert [reply.status for reply in refused] == [503] * 3
        assert all(reply.headers["retry-after"] == "1" for reply in refused)
        assert all("max_queued_requests=2" in reply.text for reply in refused)
        clients[0].cut()
        await journal.until("cancelled first")
        replies = await asyncio.gather(*others)
        assert sorted(reply.status for reply in replies) == [200, 200, 503, 503, 503]


async def test_a_request_that_takes_too_long_is_answered_and_stopped(journal: Journal) -> None:
    """408 for it, with the connection still good; what waited behind it never starts."""
    with Running.start(request_timeout_s=1) as running:
        app = apps.Patient.options(max_ongoing_requests=1).bind(journal.path)
        await running.deploy(app)
        async with running.client() as one, running.client() as other:
            await answered(one)
            await one.send("/?id=first")
            await journal.until("begun first")
            await other.send("/?id=second")
            reply = await one.reply()
            assert (reply.status, "timed out after 1s" in reply.text) == (408, True)
            assert (await other.reply()).status in (408, 200)
            await journal.until("cancelled first")
            await answered(one)
            await answered(other)


async def answered(client: Client) -> None:
    """Ask until it is answered in time, which a busy machine may not do at first."""
    while (reply := await client.get("/")).status == 408:
        pass
    assert reply.text == "here"


async def test_of_requests_whose_time_is_over_none_starts_late(journal: Journal) -> None:
    """The queue forgets those that were answered 408 while they waited."""
    with Running.start(request_timeout_s=0.5) as running:
        app = apps.Patient.options(max_ongoing_requests=1).bind(journal.path)
        await running.deploy(app)
        holding = asyncio.ensure_future(running.handle("Patient").wait.remote("holder"))
        await journal.until("begun holder")
        clients = [running.client() for _ in range(5)]
        replies = await asyncio.gather(*(c.get(f"/?id=late{i}") for i, c in enumerate(clients)))
        assert [reply.status for reply in replies] == [408] * 5
        holding.cancel()
        await journal.until("cancelled holder")
        await answered(clients[0])
        assert [name for name in journal.named("begun") if name.startswith("late")] == []
        for client in clients:
            await client.close()


@pytest.mark.parametrize("at_once", [1, 5])
async def test_a_blocked_replica_holds_up_nobody_else(
    running: Running, journal: Journal, tmp_path: Path, at_once: int
) -> None:
    """What the other can take is answered meanwhile, and once only, also when it goes on."""
    app = apps.Blocking.options(max_ongoing_requests=at_once).bind(journal.path)
    await running.deploy(app)
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    async with running.client() as blocker:
        await blocker.send(f"/?block={fifo}")
        (blocked,) = await journal.next("begun")
        clients = [Client(running.port) for _ in range(8)]
        async with asyncio.timeout(PATIENCE_S):
            for turn in range(10):
                replies = await _ask_all(clients, turn)
                assert {reply.status for reply in replies} == {200}
                assert blocked not in {reply.text for reply in replies}
            os.close(os.open(fifo, os.O_WRONLY))
            assert (await blocker.reply()).text == blocked
            while blocked not in {reply.text for reply in replies}:
                turn += 1
                replies = await _ask_all(clients, turn)
        await journal.until(*(f"did {turn}.{number}" for number in range(8)))
        done = journal.named("did")
        assert len(done) == len(set(done)) == 8 * (turn + 1)
        page = (await clients[0].get("/-/metrics")).text
        let_in, withdrawn = (
            _sum(page, f"salver_replica_{what}calls") for what in ("", "withdrawn_")
        )
        assert let_in - withdrawn == 8 * (turn + 1) + 1
        for client in clients:
            await client.close()


def _sum(page: str, name: str) -> float:
    lines = [line for line in page.splitlines() if line.startswith(f"{name}_total{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def _ask_all(clients: list[Client], turn: int) -> list[Reply]:
    paths = (f"/?id={turn}.{number}" for number in range(len(clients)))
    return await asyncio.gather(
        *(client.get(path) for client, path in zip(clients, paths, strict=True))
    )


async def test_the_longest_waiting_goes_first(running: Running, journal: Journal) -> None:
    """Calls of one caller are begun in the order in which they were made."""
    app = apps.Recorder.options(num_replicas=1, max_ongoing_requests=1).bind(journal.path)
    await running.deploy(app)
    handle = running.handle("Recorder")
    await asyncio.gather(*(handle.work.remote(str(number)) for number in range(40)))
    assert journal.named("begun") == [str(number) for number in range(40)]
