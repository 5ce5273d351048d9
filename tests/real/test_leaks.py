"""Thousands of requests, cancels and reconnects leave door and replica as they were."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.real.rig import Running, apps
from tests.real.test_cancel import memory_of

ROUND = 1000
GROWTH = 1 << 20  # bytes per round that count as noise: allocators, caches that fill


@dataclass(frozen=True)
class Holding:
    """What a process has at one moment."""

    descriptors: int
    threads: int
    memory: int

    @classmethod
    def of(cls, pid: int) -> Holding:
        proc = Path(f"/proc/{pid}")
        descriptors, threads = (len(list((proc / name).iterdir())) for name in ("fd", "task"))
        return cls(descriptors, threads, memory_of(pid))


async def plain(running: Running) -> None:
    """Requests on few connections, small and large."""

    async def ask() -> None:
        async with running.client() as client:
            for turn in range(ROUND // 8):
                body = bytes(100 if turn % 10 else 300_000)
                assert (await client.get("/", body=body)).body == body

    await asyncio.gather(*(ask() for _ in range(8)))


async def reconnecting(running: Running) -> None:
    """A connection for each request."""
    for _ in range(ROUND // 20):
        clients = [running.client() for _ in range(20)]
        await asyncio.gather(*(client.get() for client in clients))
        await asyncio.gather(*(client.close() for client in clients))


async def hanging_up(running: Running) -> None:
    """Requests whose clients go before the answer."""
    for _ in range(ROUND // 20):
        clients = [running.client() for _ in range(20)]
        for client in clients:
            await client.send("/", body=bytes(2000))
            client.cut()
        await asyncio.sleep(0)
    async with running.client() as last:
        assert (await last.get()).status == 200


async def calling(running: Running) -> None:
    """Handle calls of every kind, many of them cancelled."""
    handle = running.handle("Quick")
    stream = handle.options(stream=True)
    for _ in range(ROUND // 40):
        held = [asyncio.ensure_future(_outcome(handle.hold.remote())) for _ in range(20)]
        await asyncio.gather(*(handle.pid.remote() for _ in range(20)))
        for one in held:
            one.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        for method in (stream.items, stream.threaded):
            items = method.remote(100)
            assert await anext(items) == 0
            items.cancel()
            assert [item async for item in method.remote(3)] == [0, 1, 2]


async def _outcome(response: Any) -> Any:
    return await response


@pytest.mark.parametrize("work", [plain, reconnecting, hanging_up, calling])
async def test_nothing_is_left_of_what_is_done(
    running: Running, work: Callable[[Running], Awaitable[None]]
) -> None:
    """Descriptors and threads do not grow from round to round, nor does memory."""
    await running.deploy(apps.Quick.bind())
    (ingress,), (replica,) = running.pids("ingress"), running.pids("Quick")
    for _ in range(2):  # until pools and caches are there
        await work(running)
    before = [await settled(running, pid) for pid in (ingress, replica)]
    rounds = 4
    for _ in range(rounds):
        await work(running)
    gc.collect()
    for pid, then in zip((ingress, replica), before, strict=True):
        now = await settled(running, pid)
        assert now.descriptors <= then.descriptors, (then, now)
        # A pool may get one more of its threads when two calls happen to meet; not one a round.
        assert now.threads < then.threads + rounds, (then, now)
        assert now.memory - then.memory < rounds * GROWTH, (then, now)


async def settled(running: Running, pid: int) -> Holding:
    """What it holds once it has heard of all that ended: a few round trips through both loops."""
    async with running.client() as client:
        known, before = Holding.of(pid), None
        while before is None or known.descriptors != before.descriptors:
            before = known
            for _ in range(20):
                await client.get()
            known = Holding.of(pid)
    return known
