"""Real replicas follow real load: up, down, to none and from none, and no request is lost."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from salver.serve.config import AutoscalingConfig, AutoscalingPolicy
from salver.spec.controller import ControllerEnv, ControllerOptions
from salver.spec.status import ApplicationStatus
from tests.control.prometheus_server import Prometheus
from tests.real.load import Load, ask_http
from tests.real.rig import PATIENCE_S, Client, Journal, Running

# To type checkers a decorated class is the class still.
apps: Any = import_module("tests.real.scaling_apps")


async def scaled(running: Running, text: str) -> None:
    """Return when an event of scaling has said this."""
    async with running.control() as control, asyncio.timeout(PATIENCE_S):
        async for event in control.events():
            if event.state == "SCALES" and text in event.message:
                return


async def stopped(running: Running, *, but: int) -> None:
    """Return when so many replicas, and no more, are left."""
    async with running.control() as control, asyncio.timeout(PATIENCE_S):
        alive: set[str] = set()
        async for event in control.events():
            if event.state == "STARTING":
                alive.add(event.subject)
            elif event.state == "STOPPED":
                alive.discard(event.subject)
                if len(alive) == but:
                    return


async def serving(running: Running, count: int) -> None:
    """Return when so many replicas have come up."""
    async with running.control() as control, asyncio.timeout(PATIENCE_S):
        up: set[str] = set()
        async for event in control.events():
            if event.state == "RUNNING" and event.subject.count("#") == 2:
                up.add(event.subject)
                if len(up) == count:
                    return


async def test_a_hundred_clients_scale_it_up_and_then_down_and_lose_nothing(
    running: Running, journal: Journal
) -> None:
    await running.deploy(apps.Elastic.bind(journal.path))
    crowd = Load(ask_http, running.port, clients=100)
    few = Load(lambda client, name: ask_http(client, f"few{name}"), running.port, clients=2)
    async with few.under_way():
        async with crowd.under_way():
            await scaled(running, "to 5:")
            assert (await running.status()).applications["app"].status is ApplicationStatus.RUNNING
            await crowd.more(1000)
        await scaled(running, "to 1:")  # while the few go on
        await few.more(100)
    await stopped(running, but=1)
    assert {*crowd.results.values(), *few.results.values()} == {"ok"}
    begun = Counter(journal.named("begun"))
    assert begun.keys() >= crowd.results.keys()
    assert len(begun) == len(crowd.results) + len(few.results)
    assert set(begun.values()) == {1}


async def test_without_replicas_a_request_waits_for_the_first_one(
    running: Running, journal: Journal
) -> None:
    status = await running.deploy(apps.Resting.bind(journal.path))
    assert status.status is ApplicationStatus.RUNNING
    assert running.pids("Resting") == []
    async with running.client() as client:
        assert (await client.get("/?id=1")).text == "here"
        await scaled(running, "from 1 to 0:")
        await stopped(running, but=0)
        assert running.pids("Resting") == []
        assert (await client.get("/?id=2")).text == "here"
    assert await running.handle("Resting").called.remote() == "called"


async def waiting(client: Client) -> float:
    """How many calls wait for a replica."""
    page = (await client.get("/-/metrics")).text
    lines = [line for line in page.splitlines() if line.startswith("salver_queued_calls{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def test_who_hangs_up_meanwhile_leaves_and_the_queue_keeps_its_bound(
    running: Running, journal: Journal, tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    app = apps.Resting.options(max_queued_requests=2).bind(journal.path, gate)
    await running.deploy(app)
    async with running.client() as one, running.client() as two, running.client() as three:
        await one.send("/?id=one")
        await journal.until("constructing")
        await two.send("/?id=two")
        one.cut()
        while await waiting(three) != 1:  # the door takes note of who has hung up
            pass
        await three.send("/?id=three")
        await asyncio.to_thread(Path(gate).write_text, "go")
        assert (await two.reply()).text == "here"
        assert (await three.reply()).text == "here"
        assert sorted(journal.named("begun")) == ["three", "two"]


async def test_a_full_queue_in_front_of_no_replica_refuses(
    running: Running, journal: Journal, tmp_path: Path
) -> None:
    gate = str(tmp_path / "gate")
    os.mkfifo(gate)
    await running.deploy(apps.Resting.options(max_queued_requests=1).bind(journal.path, gate))
    async with running.client() as one, running.client() as two:
        await one.send("/?id=one")
        await journal.until("constructing")
        assert (await two.get("/?id=two")).status == 503
        await asyncio.to_thread(Path(gate).write_text, "go")
        assert (await one.reply()).text == "here"


async def test_without_controller_a_request_waits_for_the_next_one(
    running: Running, journal: Journal
) -> None:
    await running.deploy(apps.Resting.bind(journal.path))
    running.kill("controller")
    async with running.client() as client:
        assert (await client.get("/?id=1")).text == "here"


async def test_a_new_controller_keeps_the_replicas_that_the_load_has_brought(
    running: Running, journal: Journal
) -> None:
    patient = AutoscalingConfig(**{**apps.QUICK, "max_replicas": 3, "downscale_delay_s": 600})
    await running.deploy(apps.Elastic.options(autoscaling_config=patient).bind(journal.path))
    load = Load(ask_http, running.port, clients=30)
    async with load.under_way():
        await serving(running, 3)
    await running.wait()
    before = running.pids("Elastic")
    assert len(before) == 3
    running.kill("controller")
    assert (await running.wait()).status is ApplicationStatus.RUNNING
    assert running.pids("Elastic") == before


async def test_a_controller_has_its_variables_when_it_is_started_again_too(
    journal: Journal,
) -> None:
    three = ControllerOptions(runtime_env=ControllerEnv(env_vars={"WANTED": "3"}))
    policy = AutoscalingPolicy(apps.AsTold, {"journal": journal.path})
    config = AutoscalingConfig(**{**apps.QUICK, "max_replicas": 4, "policy": policy})
    with Running.start(controller=three) as running:
        await running.deploy(apps.Asking.options(autoscaling_config=config).bind(1))
        await scaled(running, "from 1 to 3: its policy wants 3")
        pid, wanted = await journal.next("controller")
        os.kill(int(pid), signal.SIGKILL)
        again, wanted_again = await journal.next("controller")
    assert again != pid
    assert wanted == wanted_again == "3"


async def test_what_replicas_say_of_themselves_reaches_a_policy_of_one_s_own(
    running: Running,
) -> None:
    policy = AutoscalingPolicy(apps.as_many_as_they_say)
    config = AutoscalingConfig(**{**apps.QUICK, "max_replicas": 4, "policy": policy})
    await running.deploy(apps.Asking.options(autoscaling_config=config).bind(3))
    await scaled(running, "from 1 to 3: its policy wants 3")


@pytest.mark.parametrize("wanted", ["many", None])
async def test_figures_that_are_none_are_told_in_the_status(running: Running, wanted: Any) -> None:
    config = AutoscalingConfig(**{**apps.QUICK, "max_replicas": 4})
    await running.deploy(apps.Asking.options(autoscaling_config=config).bind(wanted))
    await running.log.until(r"record_autoscaling_stats: it returned 'wanted': .*; expected numbers")
    status = (await running.status()).applications["app"]
    assert status.status is ApplicationStatus.RUNNING
    assert "expected numbers by name" in status.deployments["Asking"].message


async def test_a_policy_follows_what_prometheus_says(running: Running, journal: Journal) -> None:
    prometheus = Prometheus()
    try:
        prometheus.say("backlog", "scalar", [7, "3"])
        arguments = {
            "query": "backlog",
            "prometheus_address": prometheus.address,
            "fetch_interval_s": 0.05,
        }
        policy = AutoscalingPolicy(apps.Backlog, arguments)
        config = AutoscalingConfig(**{**apps.QUICK, "max_replicas": 4, "policy": policy})
        app = apps.Elastic.options(autoscaling_config=config)
        await running.deploy(app.bind(journal.path))
        await scaled(running, "to 3: its policy wants 3")
    finally:
        await asyncio.to_thread(prometheus.stop)
