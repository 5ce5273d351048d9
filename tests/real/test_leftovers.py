"""However an instance ends, nothing is left of it; and what was under way ends well if it can."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from salver.engine.runtime import make_runtime, sweep_runtimes
from tests.conftest import ROOT, Command, Served
from tests.real.rig import PATIENCE_S, Client, Journal, children_of

PROGRAM = """
from tests.real import apps
parent = apps.Parent.bind({journal!r}, stranger=False)
parent_of_stranger = apps.Parent.bind({journal!r}, stranger=True)
gated = apps.Gated.bind({journal!r}, {gate!r})
"""


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where instances of this test live; a short path, as sockets need."""
    place = tempfile.mkdtemp(prefix="s-")
    monkeypatch.setenv("TMPDIR", place)
    yield Path(place)
    shutil.rmtree(place)


@pytest_asyncio.fixture
async def run(
    salver_command: Command, place: Path, tmp_path: Path, journal: Journal
) -> AsyncIterator[Run]:
    run = Run(salver_command, place, tmp_path, journal)
    yield run
    await run.client.close()


class Run:
    """A `salver run` with its own place for instances."""

    def __init__(self, command: Command, place: Path, folder: Path, journal: Journal) -> None:
        self._command = command
        self.place = place
        self._folder = folder
        self.gate = str(folder / "gate")
        os.mkfifo(self.gate)
        program = PROGRAM.format(journal=journal.path, gate=self.gate)
        (folder / "program.py").write_text(program)

    async def start(self, target: str) -> Served:
        self.served = self._command(
            *("run", f"program:{target}", "--port", "0", "--app-dir", str(self._folder)), cwd=ROOT
        )
        url = await asyncio.to_thread(lambda: self.served.url)
        self.client = Client(int(url.split(":")[2].split("/")[0]))
        (self.keeper,) = (p.pid for p in psutil.Process(self.served.process.pid).children())
        return self.served

    def processes(self, *others: str) -> list[psutil.Process]:
        pids = {self.keeper, *map(int, others)}
        for children in children_of(self.keeper).values():
            pids |= set(children)
        return [psutil.Process(pid) for pid in pids]

    async def gone(self, processes: list[psutil.Process]) -> None:
        """Every process ends, and then nothing is left in the place of instances."""
        _, alive = await asyncio.to_thread(psutil.wait_procs, processes, PATIENCE_S)
        assert alive == []
        assert list(self.place.iterdir()) == []


@pytest.mark.parametrize(
    ("victim", "target"),
    [("owner", "parent"), ("owner", "parent_of_stranger"), ("keeper", "parent")],
)
async def test_a_sudden_end_leaves_nothing(
    run: Run, journal: Journal, victim: str, target: str
) -> None:
    """No process, no grandchild in a session of its own, no socket, no directory."""
    served = await run.start(target)
    replica, grandchild = await journal.next("pids")
    processes = run.processes(replica, grandchild)
    assert len(processes) == 5
    assert len(list(run.place.glob("salver-*/*.sock"))) == 2
    if victim == "owner":
        served.process.kill()
        await asyncio.to_thread(served.process.wait)
    else:
        os.kill(run.keeper, signal.SIGKILL)
        assert await asyncio.to_thread(served.process.wait) == 1
        assert "The keeper has ended unexpectedly" in await asyncio.to_thread(served.errors)
    await run.gone(processes)


async def test_what_is_left_when_owner_and_keeper_are_killed_together_goes_with_the_next_start(
    run: Run, journal: Journal
) -> None:
    """And nothing else: not what somebody lives in, nor what only has such a name."""
    served = await run.start("parent")
    replica, grandchild = await journal.next("pids")
    processes = run.processes(replica)
    stray = psutil.Process(int(grandchild))
    (dead,) = run.place.iterdir()
    os.kill(run.keeper, signal.SIGSTOP)  # so that it does not see its owner die
    served.process.kill()
    await asyncio.to_thread(served.process.wait)
    living, lock = make_runtime(str(run.place))  # of an instance without a keeper as yet
    stranger = run.place / "salver-stranger"
    stranger.mkdir(mode=0o700)
    sweep_runtimes(str(run.place))
    assert dead.exists()  # the keeper holds it
    os.kill(run.keeper, signal.SIGKILL)
    await asyncio.to_thread(psutil.wait_procs, processes, PATIENCE_S)
    assert dead.exists()
    await run.start("parent")
    assert await asyncio.to_thread(psutil.wait_procs, [stray], PATIENCE_S) == ([stray], [])
    (started,) = set(run.place.iterdir()) - {Path(living), stranger}
    assert started != dead
    assert await asyncio.to_thread(run.served.stop) == 0
    lock.close()
    assert set(run.place.iterdir()) == {Path(living), stranger}


async def test_a_killed_replica_takes_its_children_along(run: Run, journal: Journal) -> None:
    """Also those that have left its session; the new replica makes its own."""
    await run.start("parent_of_stranger")
    replica, grandchild = await journal.next("pids")
    process = psutil.Process(int(grandchild))
    os.kill(int(replica), signal.SIGKILL)
    await asyncio.to_thread(process.wait, PATIENCE_S)
    await journal.next("pids")
    assert await asyncio.to_thread(run.served.stop) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("path", ["/", "/?stream=1"])
async def test_requests_under_way_are_finished(
    run: Run, journal: Journal, number: signal.Signals, path: str
) -> None:
    """The door takes nothing new, the replica ends its work, and then everything ends."""
    served = await run.start("gated")
    processes = run.processes()
    await run.client.send(path)
    await journal.until("begun")
    served.process.send_signal(number)
    await asyncio.to_thread(served.line, "Stopping")
    await asyncio.to_thread(lambda: os.close(os.open(run.gate, os.O_WRONLY)))
    reply = await run.client.reply()
    assert (reply.status, reply.text) == (200, "first,last")
    await journal.until("done")
    assert await asyncio.to_thread(served.process.wait) == 0
    await run.gone(processes)


async def test_a_second_ctrl_c_does_not_wait(run: Run, journal: Journal) -> None:
    """The request under way is lost, and everything ends at once."""
    served = await run.start("gated")
    processes = run.processes()
    await run.client.send("/")
    await journal.until("begun")
    served.process.send_signal(signal.SIGINT)
    await asyncio.to_thread(served.line, "Stopping")
    assert await asyncio.to_thread(served.stop) == 130
    await run.gone(processes)
    await run.client.close()
