"""Keepers for tests, killed at their end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salver.engine.config import KeeperConfig, Listen
from salver.engine.owner import KeeperProcess
from tests.engine.rig import ENTRIES, Log, Rig


@pytest.fixture(autouse=True)
def _entries_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    """Start a keeper; it is killed at the end of the test."""
    rigs: list[Rig] = []

    def start(**config: Any) -> Rig:
        instance = tempfile.mkdtemp(prefix="salver-")
        reader, writer = os.pipe()
        real = os.dup(2)
        os.dup2(writer, 2)
        try:
            options = {"entries": ENTRIES, "listen": (Listen(port=0),), **config}
            keeper = KeeperProcess.start(KeeperConfig(instance, **options))
            keeper.wait_bound()
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
            os.close(writer)
        rig = Rig(keeper, instance, Log(reader))
        rigs.append(rig)
        return rig

    yield start
    for rig in rigs:
        rig.keeper.kill()
        rig.close()
        rig.log.join()
        print("\n".join(rig.log.lines))


OWNER = """
import sys, tempfile, os, signal
from salver.engine.config import KeeperConfig, Listen
from salver.engine.owner import KeeperProcess
entries = {entries!r}
instance = tempfile.mkdtemp(prefix="salver-")
keeper = KeeperProcess.start(KeeperConfig(instance, entries, (Listen(port=0),)))
keeper.wait_bound()
print(keeper.pid, instance, flush=True)
signal.pause()
"""


@pytest.fixture
def owner() -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """A keeper whose owner is another process: (owner, keeper's pid, instance)."""
    source = str(Path(__file__).parents[2] / "src")
    env = {**os.environ, "PYTHONPATH": f"{source}:{Path(__file__).parent}"}
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER.format(entries=ENTRIES)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    pid, instance = process.stdout.readline().split()
    yield process, int(pid), instance
    process.kill()
    process.wait()
    process.stdout.close()
