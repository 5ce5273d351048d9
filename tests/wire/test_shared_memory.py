"""Large buffers between real processes: never copied twice, never reused while someone looks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from salver.wire import frames
from salver.wire.board import UNKNOWN
from salver.wire.connection import Connection
from salver.wire.payload import Segments, loads
from salver.wire.streams import Dialler
from salver.wire.token import Token

from .peers import SECRET, Frame, Notes, hello
from .replica_process import BEGIN, GIVE, HOLD, LENT, LOOK, MAPS, SIZE, SUM

SRC = str(Path(__file__).parents[2] / "src")


class Replica:
    """A process that obeys frames, and our connection to it."""

    process: subprocess.Popen[str]
    conn: Connection

    def __init__(self) -> None:
        self.notes = Notes()
        self.calls = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def started(
        cls, place: Path, dialler: Dialler, *, forever: str = ""
    ) -> AsyncIterator[Replica]:
        self = cls()
        script = Path(__file__).with_name("replica_process.py")
        self.process = subprocess.Popen(  # noqa: ASYNC220
            [sys.executable, str(script), f"unix:{place}", forever],
            env={**os.environ, "PYTHONPATH": SRC},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        try:
            self.conn = await dialler.dial(f"unix:{place}", self.notes, hello("caller"), SECRET)
            yield self
            self.conn.close()
            await self.notes.ended()
        finally:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    async def ask(self, aux: int, *buffers: Any, call: int = 0) -> tuple[int, Any]:
        """Send a request; its call id and its decoded answer."""
        if not call:
            self.calls += 1
            call = self.calls
        self.conn.send_parts(frames.REQ, 0, aux, call, b"", buffers)
        return call, loads((await self.answer(call))[4])

    async def answer(self, call: int) -> Frame:
        """The answer to a call, taken out of what was noted."""

        def found() -> list[Frame]:
            return [f for f in self.notes.frames if f[3] == call]

        await self.notes.until(found)
        (frame,) = found()
        self.notes.frames.remove(frame)
        return frame


@pytest.fixture
async def dialler() -> AsyncIterator[Dialler]:
    dialler = Dialler()
    yield dialler
    dialler.close()


@pytest.fixture
async def replica(tmp_path: Path, dialler: Dialler) -> AsyncIterator[Replica]:
    async with Replica.started(tmp_path / "r", dialler) as replica:
        yield replica


async def test_the_first_goes_in_pieces_the_next_by_shared_memory(
    replica: Replica, dialler: Dialler
) -> None:
    big, small = bytes([1]) * SIZE, bytes([1]) * 100
    _, (how, total) = await replica.ask(HOLD, big, small)
    assert (how, total) == (["bytes", "bytes"], SIZE + 80)
    assert dialler.arena.lent == 0
    call, (how, total) = await replica.ask(HOLD, big, small)
    assert (how, total) == (["_Lease", "bytes"], SIZE + 80)
    assert dialler.arena.lent == 512 * 1024
    replica.conn.send(frames.CANCEL, 0, 0, call)
    await freed(dialler, replica)
    assert await replica.ask(HOLD, big, big) == (3, (["_Lease", "_Lease"], 2 * SIZE - 20))


async def test_memory_is_not_used_again_while_the_peer_looks_at_it(
    replica: Replica, dialler: Dialler
) -> None:
    await replica.ask(HOLD, bytes([1]) * SIZE)
    held, _ = await replica.ask(HOLD, bytes([2]) * SIZE)
    for value in range(3, 9):
        call, _ = await replica.ask(HOLD, bytes([value]) * SIZE)
        replica.conn.send(frames.CANCEL, 0, 0, call)
    assert (await replica.ask(SUM, call=held))[1] == 2 * (SIZE - 10)


async def test_memory_that_was_only_looked_at_comes_back_with_the_answer(
    replica: Replica, dialler: Dialler
) -> None:
    big = bytes([1]) * SIZE
    await replica.ask(LOOK, big)  # in pieces
    for _ in range(3):
        assert (await replica.ask(LOOK, big))[1] == SIZE
        assert dialler.arena.lent == 0  # in the same write: who answers is not woken twice


async def test_memory_stays_lent_to_a_living_peer_after_its_connection(
    tmp_path: Path, dialler: Dialler
) -> None:
    async with Replica.started(tmp_path / "r", dialler, forever="yes") as replica:
        await replica.ask(HOLD, bytes(SIZE))
        await replica.ask(HOLD, bytes(SIZE))
        replica.conn.close()
        await replica.notes.ended()
        assert dialler.arena.lent == 512 * 1024
        returned = all_returned(dialler)
        replica.process.kill()
        await returned.wait()


async def test_memory_that_a_living_peer_reads_no_more_comes_back_after_its_connection(
    tmp_path: Path, dialler: Dialler
) -> None:
    async with Replica.started(tmp_path / "r", dialler, forever="yes") as replica:
        await replica.ask(HOLD, bytes(SIZE))
        held, _ = await replica.ask(HOLD, bytes(SIZE))
        replica.conn.close()
        await replica.notes.ended()
        again = Notes()
        conn = await dialler.dial(f"unix:{tmp_path / 'r'}", again, hello("caller"), SECRET)
        assert dialler.arena.lent == 512 * 1024
        returned = all_returned(dialler)
        conn.send(frames.CANCEL, 0, 0, held)
        await returned.wait()
        conn.close()
        await again.ended()


async def test_memory_comes_back_of_which_the_peer_never_heard(
    tmp_path: Path, dialler: Dialler
) -> None:
    async with Replica.started(tmp_path / "r", dialler, forever="yes") as replica:
        await replica.ask(HOLD, bytes(SIZE))
        replica.process.send_signal(signal.SIGSTOP)
        replica.conn.send_parts(frames.REQ, 0, 0, 7, b"", [bytes(SIZE)])
        assert dialler.arena.lent == 512 * 1024
        replica.conn._transport.abort()
        await replica.notes.ended()
        assert dialler.arena.lent == 512 * 1024
        returned = all_returned(dialler)
        replica.process.send_signal(signal.SIGCONT)
        await returned.wait()


async def test_a_slab_is_lent_as_it_is_and_again_after_a_death(
    tmp_path: Path, replica: Replica, dialler: Dialler
) -> None:
    slab = dialler.arena.lend(SIZE)
    assert slab is not None
    slab.view[:] = bytes([5]) * SIZE
    await replica.ask(HOLD, slab)
    assert (await replica.ask(HOLD, slab))[1][0] == ["_Lease"]
    async with Replica.started(tmp_path / "other", dialler) as other:
        await other.ask(HOLD, slab)
        replica.process.kill()
        await replica.notes.ended()
        assert (await other.ask(HOLD, slab))[1] == (["_Lease"], 5 * (SIZE - 10))
        slab.release()
        assert dialler.arena.lent == 512 * 1024  # the other one reads it
        returned = all_returned(dialler)
    await returned.wait()


async def test_what_one_peer_lent_is_passed_on_without_a_copy(
    tmp_path: Path, replica: Replica, dialler: Dialler
) -> None:
    await replica.ask(GIVE)
    replica.conn.send(frames.REQ, 0, GIVE, 7)
    payload = (await replica.answer(7))[4]
    assert isinstance(payload, Segments)
    async with Replica.started(tmp_path / "other", dialler) as other:
        await other.ask(HOLD, *payload.buffers)
        call, (how, total) = await other.ask(HOLD, *payload.buffers)
        assert (how, total) == (["_Lease"], 7 * (SIZE - 10))
        part = memoryview(payload.buffers[0])[1000:]
        assert (await other.ask(HOLD, part))[1] == (["_Lease"], 7 * (SIZE - 1010))
        assert dialler.arena.lent == 0  # nothing was copied into ours
        del payload, part
        assert (await replica.ask(LENT, call=90))[1] == 512 * 1024
        other.conn.send(frames.CANCEL, 0, 0, call)
        other.conn.send(frames.CANCEL, 0, 0, other.calls)
        while (await replica.ask(LENT, call=91))[1]:
            pass


async def test_an_arena_that_was_passed_on_is_let_go_with_its_owner(
    tmp_path: Path, replica: Replica, dialler: Dialler
) -> None:
    async with Replica.started(tmp_path / "other", dialler) as other:
        await replica.ask(GIVE)
        replica.conn.send(frames.REQ, 0, GIVE, 7)
        payload = (await replica.answer(7))[4]
        await other.ask(HOLD, *payload.buffers)
        call, (how, _) = await other.ask(HOLD, *payload.buffers)
        assert how == ["_Lease"]
        assert (await other.ask(MAPS, call=90))[1] == 2  # ours, too
        replica.process.kill()
        await replica.notes.ended()
        assert (await other.ask(SUM, call=call))[1] == 7 * (SIZE - 10)
        other.conn.send(frames.CANCEL, 0, 0, call)
        del payload
        while (await other.ask(MAPS, call=90))[1] > 1:
            pass
        assert len(dialler.shared.mappings) == 0


async def test_memory_that_was_passed_on_outlives_who_passed_it(
    tmp_path: Path, dialler: Dialler, monkeypatch: pytest.MonkeyPatch
) -> None:
    lingers: list[float] = []
    keep = dialler.shared.keep_while_read

    def noted(*args: Any, linger_s: float) -> None:
        lingers.append(linger_s)
        keep(*args, linger_s=0.0)

    monkeypatch.setattr(dialler.shared, "keep_while_read", noted)
    async with Replica.started(tmp_path / "r", dialler) as passing:
        for _ in range(2):
            await passing.ask(HOLD, bytes(SIZE))
        lending_of(passing.conn).free(frames.PASSED, 0)
        passing.process.kill()
        await passing.notes.ended()
    assert lingers == [60.0]


async def test_a_connection_that_ends_after_its_dialler_watches_nobody(dialler: Dialler) -> None:
    dialler.close()
    before = _descriptors()
    dialler.shared.keep_while_read(asyncio.get_running_loop(), Token(), [lambda: None])
    assert _descriptors() == before


def _descriptors() -> list[str]:
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


async def test_an_array_made_from_a_received_buffer_keeps_it(replica: Replica) -> None:
    np = import_module("numpy")
    await replica.ask(GIVE)
    replica.conn.send(frames.REQ, 0, GIVE, 9)
    payload = (await replica.answer(9))[4]
    array = np.frombuffer(payload.buffers[0], np.uint8)[5:]
    del payload
    assert (await replica.ask(LENT, call=90))[1] == 512 * 1024
    assert int(array.sum()) == 9 * (SIZE - 5)
    assert not array.flags.writeable
    del array
    while (await replica.ask(LENT, call=90))[1]:
        pass


async def test_the_caller_of_a_killed_replica_knows_which_calls_had_begun(
    replica: Replica,
) -> None:
    assert replica.conn.begun() == 0
    for call in (1, 2, 3):
        replica.conn.send(frames.REQ, 0, BEGIN, call)
    await replica.ask(LENT, call=50)
    replica.process.kill()
    await replica.notes.ended()
    assert replica.conn.begun() == 3


async def test_who_cannot_map_us_gets_everything_in_pieces(
    replica: Replica, dialler: Dialler
) -> None:
    big = bytes([1]) * SIZE
    await replica.ask(HOLD, big)
    (arena,) = lending_of(replica.conn)._told
    lending_of(replica.conn).arena(frames.REFUSED, arena, b"")
    assert (await replica.ask(HOLD, big))[1] == (["bytes"], SIZE - 10)
    assert dialler.arena.lent == 0


async def test_a_full_arena_falls_back_to_pieces(replica: Replica, dialler: Dialler) -> None:
    await replica.ask(HOLD, bytes(SIZE))
    slabs = []
    while slab := dialler.arena.lend(dialler.arena.size // 16):
        slabs.append(slab)
    assert (await replica.ask(HOLD, bytes([1]) * SIZE))[1] == (["bytes"], SIZE - 10)
    for slab in slabs:
        slab.release()


async def test_nobody_attached_to_the_board_means_everything_may_have_begun(
    address: str,
) -> None:
    from .peers import Pair

    pair = await Pair.make(address, pids=(2**22, 2**22))
    assert pair.caller.begun() == UNKNOWN
    pair.callee.board_begun(5)
    await pair.close()
    assert pair.caller.begun() == UNKNOWN


def all_returned(dialler: Dialler) -> asyncio.Event:
    """Set once nothing is lent any more."""
    event, give_back = asyncio.Event(), dialler.arena.give_back

    def noted(order: int, offset: int) -> None:
        give_back(order, offset)
        if not dialler.arena.lent:
            event.set()

    dialler.arena.give_back = noted  # type: ignore[method-assign]
    return event


def lending_of(conn: Connection) -> Any:
    return conn._lending


async def freed(dialler: Dialler, replica: Replica) -> None:
    """Wait until the peer has given everything back: each answer is a round trip."""
    while dialler.arena.lent:
        await replica.ask(LENT, call=99)
