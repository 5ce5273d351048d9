"""A keeper's process that waits to be told."""

from __future__ import annotations

import os

from salver.engine.spawn import Spawned
from tests.engine.rig import wait_gone


def test_one_that_nobody_takes_is_ended() -> None:
    spawned = Spawned()
    spawned.close()
    wait_gone(spawned.process.pid)
    assert spawned.process.returncode is not None


def test_one_that_is_taken_is_left_to_its_owner() -> None:
    spawned = Spawned()
    process, sock = spawned.take()
    spawned.close()
    assert process.poll() is None
    sock.close()
    assert process.wait() == 1


def test_it_ends_by_itself_when_its_owner_is_killed() -> None:
    reader, writer = os.pipe()
    owner = os.fork()
    if owner == 0:
        os.write(writer, str(Spawned().process.pid).encode())
        os._exit(9)
    os.close(writer)
    pid = int(os.read(reader, 64))
    os.close(reader)
    os.waitpid(owner, 0)
    wait_gone(pid)
