"""A peer that does not read, connections that do nothing, and many of them."""

from __future__ import annotations

import asyncio
import tracemalloc
from pathlib import Path

from salver.errors import WireError
from salver.wire import frames
from salver.wire.assembly import Backlog
from salver.wire.streams import Dialler, Limits

from .peers import SECRET, Notes, Pair, hello


async def test_a_sender_is_told_to_wait_and_to_go_on(pair: Pair) -> None:
    conn, transport = pair.caller, pair.callee._transport
    transport.pause_reading()
    sent = 0
    for _ in range(1000):
        if conn.paused:
            break
        conn.send(frames.CHUNK, 0, 0, 1, bytes(32 * 1024))
        sent += 1
        await asyncio.sleep(0)
    assert sent * 32 * 1024 < 8 << 20
    transport.resume_reading()
    await pair.near.until(lambda: pair.near.writables)
    assert pair.caller.paused is False
    await pair.far.count(sent)


async def test_small_frames_pass_by_a_large_payload(pair: Pair) -> None:
    pair.callee._transport.pause_reading()
    large = bytes(8_000_000)
    pair.caller.send(frames.REQ, 0, 0, 1, large)
    pair.caller.send(frames.REQ, 0, 0, 2, b"small")
    pair.caller.send(frames.CANCEL, 0, 0, 1)
    pair.callee._transport.resume_reading()
    got = await pair.far.count(3)
    assert [(f[0], f[3]) for f in got] == [(frames.REQ, 2), (frames.REQ, 1), (frames.CANCEL, 1)]
    assert got[1][4] == large


async def test_more_than_the_peer_puts_together_at_a_time_only_waits(address: str) -> None:
    pair = await Pair.make(address, limits=Limits(max_payload=4 << 20))
    pair.callee._transport.pause_reading()
    for number in range(1, 41):
        pair.caller.send(frames.REQ, 0, 0, number, bytes(1_000_000 + number))
    pair.callee._transport.resume_reading()
    got = await pair.far.count(40)
    assert {(f[3], len(f[4])) for f in got} == {(n, 1_000_000 + n) for n in range(1, 41)}
    await pair.close()


async def test_a_crowd_is_seen_and_its_end_is_told(pair: Pair) -> None:
    pair.callee._transport.pause_reading()
    payload = bytes(8 << 20)
    for number in range(1, 9):
        assert not pair.caller.crowded
        pair.caller.send(frames.REQ, 0, 0, number, payload)
    pair.caller.send(frames.REQ, 0, 0, 9, payload)
    assert pair.caller.crowded
    pair.callee._transport.resume_reading()
    await pair.near.until(lambda: pair.near.writables and not pair.caller.crowded)
    await pair.far.count(9)


def test_one_that_is_very_large_leaves_turns_to_others() -> None:
    backlog, seen = Backlog(256 << 20), []
    for number, size in ((1, 128 << 20), (2, 1 << 20), (3, 1 << 20)):
        backlog.add(frames.REQ, 0, 0, number, bytes(size))
    while backlog.holds(1) and (piece := backlog.next()):
        _, _, flags, _, call_id = frames.HEADER.unpack_from(piece)
        if not flags & frames.MORE:
            seen.append(call_id)
    assert seen == [2, 3, 1]
    assert backlog.next() is None
    assert backlog.size == 0


async def test_who_never_reads_is_cut_off_in_the_end(address: str) -> None:
    pair = await Pair.make(address, limits=Limits(max_unsent=2 << 20))
    pair.callee._transport.pause_reading()
    for _ in range(200):
        pair.caller.send(frames.CHUNK, 0, 0, 1, bytes(100_000))
        await asyncio.sleep(0)
        if pair.caller.closed:
            break
    assert isinstance(await pair.near.ended(), WireError)
    assert "does not read" in pair.caller.reason
    pair.callee._transport.resume_reading()
    await pair.close()


async def test_closing_towards_who_never_reads_ends_all_the_same(address: str) -> None:
    pair = await Pair.make(address, limits=Limits(close_s=0.01))
    pair.callee._transport.pause_reading()
    pair.caller.send(frames.CHUNK, 0, 0, 1, bytes(20_000_000))
    pair.caller.close()
    await pair.near.ended()
    pair.callee._transport.resume_reading()
    await pair.close()


async def test_what_was_sent_before_close_arrives(pair: Pair) -> None:
    pair.caller.send(frames.CHUNK, 0, 0, 1, bytes(3_000_000))
    pair.caller.send(frames.END, 0, 0, 1)
    pair.caller.close()
    pair.caller.send(frames.END, 0, 0, 2)
    got = await pair.far.count(2)
    assert [(f[0], len(f[4])) for f in got] == [(frames.CHUNK, 3_000_000), (frames.END, 0)]
    assert await pair.far.ended() is None


async def test_idle_connections_are_cheap(tmp_path: Path) -> None:
    dialler, server, far = Dialler(), Dialler(), []
    address = f"unix:{tmp_path / 's'}"

    def make() -> Notes:
        far.append(Notes())
        return far[-1]

    listener = await server.listen(address, make, hello("replica"), SECRET)
    near = [Notes() for _ in range(100)]
    await dialler.dial(address, near[0], hello("caller"), SECRET)
    tracemalloc.start()
    for notes in near[1:]:
        conn = await dialler.dial(address, notes, hello("caller"), SECRET)
        conn.send(frames.REQ, 0, 0, 1, bytes(200_000))
    for notes in far[1:]:
        await notes.count(1)
        notes.frames.clear()
    # Of ours alone: the process's other threads and tests allocate, too.
    ours = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, "*/salver/wire/*")])
    tracemalloc.stop()
    used = sum(statistic.size for statistic in ours.statistics("filename"))
    for notes in near:
        assert notes.opened_with
        notes.opened_with.close()
    for notes in [*near, *far]:
        await notes.ended()
    listener.close()
    dialler.close()
    server.close()
    assert used / 99 < 20_000  # both ends
