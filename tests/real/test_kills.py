"""Each process of an instance is killed while many clients use it."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from salver.build import build
from salver.control.client import ControlClient, ask
from salver.errors import ReplicaDiedError
from salver.spec.status import ApplicationStatus
from tests.real.load import Ask, Load, ask_http
from tests.real.rig import Client, Journal, Running, apps

DIED = "died while it worked on this request"


def ask_handle(handle: Any) -> Ask:
    async def asked(_client: Client, name: str) -> str:
        try:
            await handle.work.remote(name)
        except ReplicaDiedError as error:
            return f"502 {error}"
        return "ok"

    return asked


@pytest.mark.parametrize("door", ["http", "handle"])
@pytest.mark.parametrize("kind", ["Recorder", "InThread"])
async def test_a_killed_replica_costs_only_what_had_begun_there(
    running: Running, journal: Journal, kind: str, door: str
) -> None:
    """Every request runs at most once; those that fail say why, and had begun."""
    await running.deploy(getattr(apps, kind).bind(journal.path))
    ask = ask_http if door == "http" else ask_handle(running.handle(kind))
    load = Load(ask, running.port)
    async with load.under_way():
        kills = 0
        while kills < 3 or not load.failed:  # one that had nothing to do costs nothing
            await load.more(100)
            assert (await running.wait()).status is ApplicationStatus.RUNNING
            running.kill(kind)
            kills += 1
        await load.more(100)
    failed = load.failed
    assert all(load.results[name].startswith("502 ") for name in failed)
    assert all(DIED in load.results[name] for name in failed)
    begun = Counter(journal.named("begun"))
    # One may die each time between the mark that its call begins and the handler's first line.
    assert len(failed - begun.keys()) <= kills
    assert {name for name, times in begun.items() if times > 1} == set()


async def test_a_killed_ingress_refuses_nobody_and_is_back(
    running: Running, journal: Journal
) -> None:
    """Requests under way on its connections are lost; those asked after it are served."""
    await running.deploy(apps.Recorder.bind(journal.path))
    kills = 0
    served_after: Counter[int] = Counter()

    async def ask(client: Client, name: str) -> str:
        await client.connect()  # a refusal ends the test
        asked_after = kills
        try:
            result = await ask_http(client, name)
        except (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError):
            client.cut()
            return "cut"
        served_after[asked_after] += 1
        return result

    load = Load(ask, running.port)
    async with load.under_way():
        for _ in range(2):
            await load.more(100)
            running.kill("ingress")
            kills += 1
            await load.more(100)
    assert served_after.keys() == {0, 1, 2}
    assert set(load.results.values()) == {"ok", "cut"}
    cut = [name for name, result in load.results.items() if result == "cut"]
    assert len(cut) <= 2 * load.clients


async def test_a_killed_controller_is_not_noticed_by_clients(
    running: Running, journal: Journal
) -> None:
    """No request fails, nothing is restarted; status, deploy and scaling work afterwards."""
    spec = build(apps.Recorder.bind(journal.path), "app", "/")
    await running.deploy(spec)
    replicas, door = running.pids("Recorder"), running.pids("ingress")
    load = Load(ask_http, running.port)
    async with load.under_way():
        for _ in range(2):
            await load.more(50)
            running.kill("controller")
            await load.more(50)
            assert (await running.wait()).status is ApplicationStatus.RUNNING
            assert running.pids("Recorder") == replicas
        more = await running.deploy(apps.Plain.bind(), "plain", "/plain")
        assert more.status is ApplicationStatus.RUNNING
        async with running.client() as client:
            assert (await client.get("/plain")).text == "plain"
        (one,) = spec.deployments
        options = msgspec.structs.replace(one.options, num_replicas=3)
        scaled = msgspec.structs.replace(one, options=options)
        await running.deploy(msgspec.structs.replace(spec, deployments=(scaled,)))
        assert set(running.pids("Recorder")) > set(replicas)
        assert len(running.pids("Recorder")) == 3
        await load.more(50)
    assert set(load.results.values()) == {"ok"}
    assert running.pids("ingress") == door


async def test_what_a_dying_controller_was_asked_is_asked_of_the_next(
    running: Running, journal: Journal, tmp_path: Path
) -> None:
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    spec = build(apps.Constructed.bind(journal.path, str(fifo)), "app", "/")

    async def deployed(control: ControlClient) -> ApplicationStatus:
        await control.deploy(spec)
        return (await control.wait("app")).status

    asked = asyncio.create_task(ask(running.address, running.secret, deployed))
    await journal.next("begun")
    running.kill("controller")
    await asyncio.to_thread(lambda: os.close(os.open(fifo, os.O_WRONLY)))
    assert await asked is ApplicationStatus.RUNNING


async def drained_by_the_next_controller(running: Running, name: str, gate: Path) -> None:
    """Replace the app of this deployment, kill who drains it, and open what its call waits for."""
    await running.deploy(apps.Plain.bind())
    await running.until_event("STOPPING", name)
    died = time.time()
    running.kill("controller")
    await running.until_event("STOPPING", name, after=died)
    await asyncio.to_thread(lambda: os.close(os.open(gate, os.O_WRONLY)))


async def test_a_replica_that_drains_goes_on_when_the_controller_dies(
    running: Running, journal: Journal, tmp_path: Path
) -> None:
    """What it had begun is answered, though the next controller wants it no more."""
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    await running.deploy(apps.Gated.bind(journal.path, str(fifo)))
    async with running.client() as client:
        await client.send("/")
        await journal.next("begun")
        await drained_by_the_next_controller(running, "Gated", fifo)
        assert (await client.reply()).text == "first,last"


async def test_a_blocked_replica_that_drains_goes_on_when_the_controller_dies(
    running: Running, journal: Journal, tmp_path: Path
) -> None:
    """The next controller does not hear from it, and does not take it for idle."""
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    await running.deploy(apps.Blocking.options(num_replicas=1).bind(journal.path))
    (blocked,) = running.pids("Blocking")
    async with running.client() as client:
        await client.send(f"/?block={fifo}")
        await journal.next("begun")
        await drained_by_the_next_controller(running, "Blocking", fifo)
        assert (await client.reply()).text == str(blocked)


async def test_what_clients_said_of_models_outlives_the_controller(running: Running) -> None:
    """What is unloaded stays so, and settings are as they were set; a load brings it back."""
    asked = b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[2]}]}'
    await running.deploy(apps.twice.bind())
    async with running.client() as client:

        async def post(path: str, body: bytes) -> tuple[int, Any]:
            reply = await client.get(path, body=body)
            return reply.status, msgspec.json.decode(reply.body) if reply.body else None

        assert (await post("/v2/logging", b'{"log_verbose_level": 1}'))[0] == 200
        assert (await post("/v2/models/twice/infer", asked))[0] == 200
        assert (await post("/v2/repository/models/twice/unload", b""))[0] == 200
        await running.until_event("STOPPED", "twice")
        for number in range(2):
            running.kill("controller")
            refused = await client.get("/v2/models/twice/infer", body=asked)
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            # The door has heard of the new controller when an app of its is served.
            await running.deploy(apps.Plain.bind(), f"plain{number}", f"/plain{number}")
            assert (await post("/v2/models/twice/infer", asked))[0] == 503
            told = (await post("/v2/repository/index", b""))[1]
            assert [(one["name"], one["state"], one["reason"]) for one in told] == [
                ("twice", "UNAVAILABLE", "unloaded")
            ]
            assert not running.pids("twice")
            log = msgspec.json.decode((await client.get("/v2/logging")).body)
            assert log["log_verbose_level"] == 1
        assert (await post("/v2/repository/models/twice/load", b""))[0] == 200
        assert (await post("/v2/models/twice/infer", asked))[0] == 200
        assert len(running.pids("twice")) == 1
