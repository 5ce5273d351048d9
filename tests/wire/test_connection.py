"""A connection: frames arrive whole, in order and apart from each other."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from salver.errors import WireError
from salver.wire import frames
from salver.wire.messages import Hello
from salver.wire.streams import Dialler, Limits

from .peers import Notes, Pair


async def test_frames_arrive_as_they_were_sent(pair: Pair) -> None:
    pair.caller.send(frames.NAME, 0, 1, 0, b"predict")
    pair.caller.send(frames.REQ, frames.STREAM, 1, 7, b"x" * 64)
    pair.caller.send(frames.CANCEL, 0, 0, 7)
    assert await pair.far.count(3) == [
        (frames.NAME, 0, 1, 0, b"predict"),
        (frames.REQ, frames.STREAM, 1, 7, b"x" * 64),
        (frames.CANCEL, 0, 0, 7, b""),
    ]


@pytest.mark.parametrize("size", [8 * 1024, 70_000, frames.MAX_FRAME, 3_000_000])
async def test_large_payloads_arrive_whole(pair: Pair, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    pair.caller.send(frames.REQ, 0, 1, 1, data[:size])
    pair.caller.send(frames.REQ, 0, 1, 2, b"small")
    got = await pair.far.count(2)
    assert {(f[3], f[4]) for f in got} == {(1, data[:size]), (2, b"small")}


async def test_closing_one_end_closes_the_other(pair: Pair) -> None:
    pair.callee.send(frames.GOAWAY, 0, 0, 0)
    pair.callee.close("done")
    assert await pair.near.ended() is None
    assert pair.near.frames == [(frames.GOAWAY, 0, 0, 0, b"")]
    assert await pair.far.ended() is None


@pytest.mark.parametrize("reset", [False, True])
async def test_whoever_accepts_and_ends_is_told_apart_from_nobody(
    tmp_path: Path, reset: bool
) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        server.setblocking(False)
        dialler = Dialler()
        hello = Hello(b"", "driver", "me", os.getpid())
        dial = asyncio.ensure_future(dialler.dial(f"unix:{tmp_path}/s", Notes(), hello, b""))
        client, _ = await loop.sock_accept(server)
        if not reset:  # unread data makes it a reset
            await loop.sock_recv(client, 4096)
        client.close()
        with pytest.raises(WireError):
            await dial
        await asyncio.sleep(0)
        dialler.close()


async def test_a_patient_dial_waits_for_who_listens_and_does_not_answer(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "s"))
    server.listen()
    hello = Hello(b"", "driver", "me", os.getpid())
    dialler, other = Dialler(limits=Limits(hello_s=0.0)), Dialler()
    waits = asyncio.ensure_future(dialler.dial(address, Notes(), hello, b"", patient=True))
    with pytest.raises(WireError, match="has not said HELLO within 0 s"):
        await dialler.dial(address, Notes(), hello, b"")
    assert not waits.done()
    listener = await other.listen(server, Notes, hello, b"")
    conn = await waits
    conn.close()
    listener.close()
    await asyncio.sleep(0)
    dialler.close()
    other.close()


async def test_parts_arrive_as_inline_bytes_and_buffers(pair: Pair) -> None:
    big = bytes(range(256)) * 4096
    for _ in range(2):
        pair.caller.send_parts(frames.REQ, 0, 1, 1, b"inline", [b"small", big])
        await pair.far.count(1)
        payload = pair.far.frames.pop()[4]
        assert payload.inline == b"inline"
        assert [bytes(b) for b in payload.buffers] == [b"small", big]
        assert all(b.readonly for b in payload.buffers)
