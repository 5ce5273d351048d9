"""Gangs of real processes."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

from salver.build import build
from salver.errors import SalverError
from salver.launch import Capacity
from salver.spec.status import ApplicationStatus
from tests.real.rig import PATIENCE_S, Running, apps


async def seen(running: Running) -> list[dict[str, Any]]:
    return sorted(
        await running.handle("Ganged").broadcast("seen").results_async(), key=lambda s: s["rank"]
    )


async def test_members_are_constructed_together_and_restart_together(
    running: Running, tmp_path: Path
) -> None:
    await running.deploy(apps.Ganged.bind(str(tmp_path)))
    before = await seen(running)
    assert [(s["rank"], s["size"], s["own"]) for s in before] == [(0, 2, True), (1, 2, True)]
    assert len({s["gang"] for s in before}) == 1
    os.kill(before[1]["pid"], signal.SIGKILL)
    await running.until_event("DIED", "Ganged")
    await running.wait()
    after = before
    async with asyncio.timeout(PATIENCE_S):
        while len(after) < 2 or after[0]["gang"] == before[0]["gang"]:
            with suppress(SalverError):  # those that the handle knows are about to end
                after = await seen(running)
    assert {s["gang"] for s in after}.isdisjoint(s["gang"] for s in before)
    assert {s["pid"] for s in after}.isdisjoint(s["pid"] for s in before)
    assert [s["rank"] for s in after] == [0, 1]


async def test_a_gang_takes_what_the_whole_of_it_needs_or_nothing(tmp_path: Path) -> None:
    """Two of four would find room: they start when the rest can."""
    with Running.start(Capacity(num_gpus=3)) as running:
        other = apps.Plain.options(ray_actor_options={"num_gpus": 1})
        await running.deploy(other.bind(), "other", "/other")
        gang = apps.Ganged.options(
            num_replicas=3,
            gang_scheduling_config={"gang_size": 3},
            ray_actor_options={"num_gpus": 1},
        )
        async with running.control() as control:
            await control.deploy(build(gang.bind(str(tmp_path)), "app", "/"))
            waits = await running.until_event("WAITING", "Ganged")
            assert waits == "together 3 need num_gpus=3 (2 free of 3)"
            _, free = await control.capacity()
            assert free.num_gpus == 2
            await control.delete("other")
        assert (await running.wait()).status is ApplicationStatus.RUNNING
        assert len(await seen(running)) == 3
