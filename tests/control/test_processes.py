"""A real keeper, a real controller and small replicas: what happens when each of them is killed."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from salver.control.client import ControlClient
from salver.engine.config import KeeperConfig, Listen
from salver.engine.owner import KeeperProcess
from salver.spec.app import AppSpec, DeploymentSpec, ImportedCode
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions
from salver.spec.status import ApplicationStatus, Event

ENTRIES = {
    "controller": "salver.control.main:main",
    "ingress": "control_entries:door",
    "replica": "control_entries:replica",
}
SECRET = b"s" * 32


def app(version: str = "1", n: int = 2) -> AppSpec:
    deployment = DeploymentSpec(
        DeploymentId("Model", "app"),
        ImportedCode("nowhere", "Nothing"),
        b"",
        DeploymentOptions(num_replicas=n),
        version,
        ingress=True,
    )
    return AppSpec("app", "/", (deployment,))


class Instance:
    """A keeper and a line to its controller."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.keeper = KeeperProcess.start(KeeperConfig(path, ENTRIES, (Listen(port=0),)))
        self.keeper.wait_bound()

    @asynccontextmanager
    async def control(self) -> AsyncIterator[ControlClient]:
        client = await ControlClient.dial(self.path, SECRET)
        yield client
        client.close()
        await client.wait_closed()

    def exists(self) -> bool:
        return Path(self.path).exists()

    def children(self) -> dict[str, list[int]]:
        """Pids by the name that the process shows."""
        pid = self.keeper.pid
        found: dict[str, list[int]] = {}
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(OSError):  # it has gone meanwhile
                name = Path(f"/proc/{child}/comm").read_text().strip()
                found.setdefault(name, []).append(int(child))
        return found


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Instance]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    path = tempfile.mkdtemp(prefix="salver-")
    (Path(path) / "secret").write_bytes(SECRET)
    instance = Instance(path)
    yield instance
    instance.keeper.kill()


async def next_event(client: ControlClient, state: str) -> Event:
    async with asyncio.timeout(60):
        async for event in client.events():
            if event.state == state:
                return event
    raise AssertionError("the link closed")


async def test_an_app_runs_and_is_deleted(instance: Instance) -> None:
    async with instance.control() as control:
        await control.deploy(app())
        status = await control.wait("app")
        assert status.status is ApplicationStatus.RUNNING
        assert (await control.status()).proxies == {"ingress": "HEALTHY"}
        assert len(instance.children()["salver:Model"]) == 2
        await control.delete("app")
        assert "salver:Model" not in instance.children()
        assert (await control.status()).applications == {}


async def test_a_failing_constructor_is_told_with_its_own_words(instance: Instance) -> None:
    async with instance.control() as control:
        await control.deploy(app("bad", n=1))
        status = await control.wait("app")
        assert status.status is ApplicationStatus.DEPLOY_FAILED
        assert "ValueError: no weights" in status.message


async def test_a_killed_replica_is_replaced_and_the_cause_is_told(instance: Instance) -> None:
    async with instance.control() as control:
        await control.deploy(app())
        await control.wait("app")
        victim, survivor = instance.children()["salver:Model"]
        os.kill(victim, signal.SIGKILL)
        event = await next_event(control, "DIED")
        assert event.message.startswith("killed by signal 9 (SIGKILL)")
        assert (await control.wait("app")).status is ApplicationStatus.RUNNING
        now = instance.children()["salver:Model"]
        assert len(now) == 2
        assert survivor in now
        assert victim not in now


async def test_a_killed_controller_is_replaced_and_nothing_else_is_touched(
    instance: Instance,
) -> None:
    async with instance.control() as control:
        await control.deploy(app())
        await control.wait("app")
        before = instance.children()
        os.kill(before["salver:controll"][0], signal.SIGKILL)
        async with instance.control() as again:
            assert (await again.wait("app")).status is ApplicationStatus.RUNNING
            after = instance.children()
            assert after["salver:Model"] == before["salver:Model"]
            assert after["salver:ingress"] == before["salver:ingress"]
            assert after["salver:controll"] != before["salver:controll"]
            await again.deploy(app("2"))
            assert (await again.wait("app")).status is ApplicationStatus.RUNNING


async def test_a_killed_door_comes_back_and_wait_waits_for_it(instance: Instance) -> None:
    async with instance.control() as control:
        await control.deploy(app())
        await control.wait("app")
        os.kill(instance.children()["salver:ingress"][0], signal.SIGKILL)
        event = await next_event(control, "DIED")
        assert event.subject == "ingress"
        await control.deploy(app("2"))
        assert (await control.wait("app")).status is ApplicationStatus.RUNNING
        assert (await control.status()).proxies == {"ingress": "HEALTHY"}


async def test_stop_drains_and_leaves_nothing(instance: Instance) -> None:
    async with instance.control() as control:
        await control.deploy(app())
        await control.wait("app")
        await asyncio.to_thread(instance.keeper.stop)
    assert not instance.exists()
