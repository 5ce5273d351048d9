"""Apps that are deployed again while clients use them."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from salver.build import build
from salver.spec.app import AppSpec
from salver.spec.backpressure import BackpressureConfig
from salver.spec.status import ApplicationStatus
from tests.real.load import Load, ask_http
from tests.real.rig import Client, Journal, Running, apps


def tuned(journal: Journal, version: str = "1", **options: Any) -> AppSpec:
    """Of the same version, so that only options may differ."""
    app = apps.Tuned.options(**options).bind(journal.path)
    return build(app, "app", "/", version=version)


async def test_changed_options_reach_the_living_replica(running: Running, journal: Journal) -> None:
    await running.deploy(tuned(journal))
    async with running.client() as client:
        assert (await client.get()).text == "first"
        changed: dict[str, Any] = {
            "user_config": "second",
            "max_ongoing_requests": 20,
            "health_check_period_s": 5,
        }
        status = await running.deploy(tuned(journal, **changed))
        assert status.status is ApplicationStatus.RUNNING
        assert (await client.get()).text == "second"
    assert len(journal.named("made")) == 1


async def test_an_app_moves_to_another_prefix_without_a_restart_or_a_wrong_answer(
    running: Running, journal: Journal
) -> None:
    app = apps.Rooted.bind(journal.path)
    await running.deploy(build(app, "app", "/old", version="1"))
    async with running.client() as client:
        moving = asyncio.create_task(running.deploy(build(app, "app", "/new/place", version="1")))
        while (reply := await client.get("/old/x")).status == 200:
            assert reply.text == "/old"
        assert (reply.status, reply.text[:19]) == (404, "Path '/old/x' not f")
        assert (await client.get("/new/place/x")).text == "/new/place"
        assert (await moving).status is ApplicationStatus.RUNNING
    assert len(journal.named("made")) == 2


async def test_code_of_another_version_is_started_anew(running: Running, journal: Journal) -> None:
    await running.deploy(tuned(journal))
    await running.deploy(tuned(journal, "2"))
    assert len(journal.named("made")) == 2


@pytest.mark.parametrize(
    ("same_code", "surge"),
    [(True, None), (False, None), (False, 50), (False, 0)],
    ids=["in place", "at one moment", "new before old", "old before new"],
)
async def test_no_request_is_lost_while_an_app_is_deployed_again(
    running: Running, journal: Journal, same_code: bool, surge: int | None
) -> None:
    """An app of two deployments, three times, each version with other options."""

    def app(turn: int) -> AppSpec:
        options = {"num_replicas": 2, "user_config": str(turn), "max_ongoing_requests": 5 + turn}
        options |= {"max_surge_percent": surge}
        child = apps.Tuned.options(name="Child", **options).bind(journal.path)
        front = apps.Tuned.options(name="Front", **options).bind(journal.path, child)
        return build(front, "app", "/", version="1" if same_code else str(turn))

    await running.deploy(app(0))
    load = Load(ask_http, running.port, clients=16)
    async with load.under_way():
        await load.more(100)
        for turn in (1, 2, 3):
            assert (await running.deploy(app(turn))).status is ApplicationStatus.RUNNING
            await load.more(100)
    assert set(load.results.values()) == {"ok"}
    async with running.client() as client:
        assert (await client.get()).text == "3 3"
    assert len(journal.named("made")) == (4 if same_code else 16)


async def test_a_full_queue_answers_as_the_deployment_says(
    running: Running, journal: Journal
) -> None:
    """At the door, to a caller's handle, and through an app that does not catch it."""
    app = apps.Patient.options(
        max_ongoing_requests=1,
        max_queued_requests=1,
        backpressure_config=BackpressureConfig(429, 2.5),
    )
    await running.deploy(app.bind(journal.path))
    await running.deploy(apps.Relay.bind(app.bind(journal.path)), "relay", "/relay")
    for path, handle in (("/", running.handle("Patient")), ("/relay", None)):
        clients = [Client(running.port) for _ in range(4)]
        if handle is None:
            handle = running.handle("Patient", "relay")
        held = asyncio.ensure_future(handle.wait.remote("holder"))
        await journal.until("begun holder")
        journal.lines.clear()
        others = [asyncio.create_task(client.get(path)) for client in clients]
        for done in asyncio.as_completed(others):
            reply = await done
            if reply.status != 200:
                assert (reply.status, reply.headers["retry-after"]) == (429, "3")
                break
        held.cancel()
        await asyncio.gather(*others)
        for client in clients:
            await client.close()


async def test_a_failed_update_is_rolled_back_under_load_and_what_dies_comes_back(
    running: Running, journal: Journal
) -> None:
    await running.deploy(tuned(journal, num_replicas=2))
    old = [int((await journal.next("made"))[0]) for _ in range(2)]
    load = Load(ask_http, running.port, clients=8)
    async with load.under_way():
        await load.more(50)
        bad = tuned(journal, "2", user_config="bad", max_constructor_retry_count=1)
        status = await running.deploy(bad)
        assert status.status is ApplicationStatus.DEPLOY_FAILED
        assert "no such configuration" in status.message
        assert "2 replicas of the version before keep serving" in status.message
        await load.more(50)
    assert set(load.results.values()) == {"ok"}
    journal.lines.clear()
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    again = [int((await journal.next("made"))[0]) for _ in range(2)]
    assert not set(again) & set(old)
    async with running.client() as client:
        assert (await client.get()).text == "first"
