"""Whatever a peer writes, and in whatever pieces it arrives: frames, or a closed connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.errors import WireError
from salver.wire import frames
from salver.wire.connection import Connection
from salver.wire.frames import HEADER, HEADER_SIZE
from salver.wire.messages import Hello
from salver.wire.payload import Segments
from salver.wire.shared import Limits, Shared
from salver.wire.streams import Dialler, dial

from .peers import SECRET, Frame, Notes, hello


class Sink:
    """A transport that keeps what is written and tells whether it was closed."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None:
        """There is no socket that could be written to directly."""

    def close(self) -> None:
        self.closed = True

    abort = close


def frame(kind: int, flags: int, aux: int, call_id: int, payload: bytes) -> bytes:
    return HEADER.pack(HEADER_SIZE + len(payload), kind, flags, aux, call_id) + payload


def greeting(secret: bytes = SECRET, **fields: Any) -> bytes:
    return frame(
        frames.HELLO, 0, 0, 0, msgspec.msgpack.encode(Hello(secret, "caller", "c", 1, **fields))
    )


def accepted(shared: Shared | None = None) -> tuple[Connection, Notes, Sink]:
    """The accepting end of a connection whose transport is ours."""
    notes, sink = Notes(), Sink()
    conn = Connection(notes, hello("replica"), secret=SECRET, dialled=False, shared=shared)
    conn.connection_made(cast("asyncio.BaseTransport", sink))
    return conn, notes, sink


def feed(conn: Connection, data: bytes, sizes: Callable[[], int]) -> None:
    """Hand bytes over as a loop does, at most `sizes()` at a time."""
    left = memoryview(data)
    while left and not conn.closed:
        buffer = conn.get_buffer(-1)
        size = min(len(buffer), len(left), sizes())
        buffer[:size] = left[:size]
        left = left[size:]
        conn.buffer_updated(size)


PAYLOADS = st.one_of(
    st.binary(max_size=40),
    st.builds(lambda n: bytes(range(251)) * (n // 251 + 1), st.integers(0, 50_000)),
)
KINDS = st.sampled_from([frames.NAME, frames.REQ, frames.RES, frames.CHUNK, frames.RPC])
FRAMES = st.lists(
    st.tuples(
        KINDS,
        st.sampled_from([0, frames.META, frames.STREAM, frames.HTTP | frames.CLOSE]),
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**64 - 1),
        PAYLOADS,
    ),
    max_size=8,
)


@given(sent=FRAMES, data=st.data())
async def test_any_split_of_the_stream_gives_the_same_frames(
    sent: list[Frame], data: st.DataObject
) -> None:
    conn, notes, _ = accepted()
    stream = greeting() + b"".join(frame(*f) for f in sent)
    feed(
        conn,
        stream,
        lambda: (
            data.draw(st.sampled_from([1, 7, 16, 17, 5000, 100_000]))
            if len(stream) < 3000
            else data.draw(st.integers(4000, 300_000))
        ),
    )
    assert notes.frames == sent
    assert notes.opened_with is conn
    conn.close()


@given(
    sizes=st.lists(st.integers(1, 100), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
)
async def test_pieces_of_several_payloads_may_alternate(sizes: list[int], order: Any) -> None:
    conn, notes, _ = accepted()
    queues = [
        [
            frame(frames.CHUNK, frames.MORE if n < size - 1 else 0, 0, call, b"%d," % n)
            for n in range(size)
        ]
        for call, size in enumerate(sizes)
    ]
    stream = greeting()
    while any(queues):
        stream += order.choice([q for q in queues if q]).pop(0)
    feed(conn, stream, lambda: order.choice([3, 40, 1000]))
    whole = {f[3]: f[4] for f in notes.frames}
    assert whole == {c: b"".join(b"%d," % n for n in range(s)) for c, s in enumerate(sizes)}
    conn.close()


@given(garbage=st.binary(min_size=1, max_size=200), greet=st.booleans(), step=st.integers(1, 64))
async def test_garbage_closes_the_connection_and_raises_nothing(
    garbage: bytes, greet: bool, step: int
) -> None:
    conn, notes, sink = accepted()
    stream = (greeting() if greet else b"") + b"\xff\xff\xff\x7f" + garbage + bytes(16)
    feed(conn, stream, lambda: step)
    assert conn.closed
    assert sink.closed
    assert not notes.frames


@given(table=st.binary(max_size=120), seed=st.integers(0, 3))
async def test_a_segment_table_of_any_bytes_reads_nothing_outside_its_payload(
    table: bytes, seed: int
) -> None:
    if seed:  # plausible counts reach further into the parser than pure noise
        table = frames.SEGMENTS.pack(seed, len(table) % 7) + table
    conn, notes, _ = accepted()
    feed(conn, greeting() + frame(frames.REQ, frames.SEG, 0, 1, table), lambda: 10_000)
    if notes.frames:
        payload = notes.frames[0][4]
        assert isinstance(payload, Segments)
        assert sum(b.nbytes for b in payload.buffers) + len(payload.inline) <= len(table)
    else:
        assert conn.closed
    conn.close()


BAD = {
    "no greeting": frame(frames.REQ, 0, 0, 1, b""),
    "wrong secret": greeting(b"x" * 32),
    "no secret": greeting(b""),
    "greeting is no msgpack": frame(frames.HELLO, 0, 0, 0, b"\xc1"),
    "greeting is too long": frame(frames.HELLO, 0, 0, 0, bytes(5000)),
    "another protocol": greeting(protocol=99),
    "greets twice": greeting() * 2,
    "unknown type": greeting() + frame(77, 0, 0, 1, b""),
    "too short for itself": greeting() + HEADER.pack(3, frames.REQ, 0, 0, 1),
    "longer than any frame": greeting() + HEADER.pack(frames.MAX_FRAME + 1, frames.REQ, 0, 0, 1),
    "frees what is not lent": greeting() + frame(frames.FREE, 0, 0, 5, b""),
    "answers what was not asked": greeting() + frame(frames.ARENA, 0, frames.MAPPED, 5, b""),
    "a note that is none": greeting() + frame(frames.ARENA, 0, frames.NOTE, 5, b"x"),
    "an empty piece": greeting() + frame(frames.REQ, frames.MORE, 0, 5, b""),
    "an arena never told": greeting()
    + frame(
        frames.REQ, frames.SEG, 0, 5, frames.SEGMENTS.pack(1, 0) + frames.SEGMENT.pack(9, 1, 0, 10)
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_a_mistake_is_logged_once_and_ends_only_this_connection(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, client = Dialler(), Dialler()
    address = f"unix:{tmp_path / 's'}"
    notes: list[Notes] = []

    def make() -> Notes:
        notes.append(Notes())
        return notes[-1]

    listener = await server.listen(address, make, hello("replica"), SECRET)
    near = Notes()
    good = await client.dial(address, near, hello("caller"), SECRET)
    with caplog.at_level(logging.ERROR, "salver.wire"):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(BAD[case] + frame(frames.REQ, 0, 0, 9, b"never seen"))
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(60):
                while await reader.read(1000):
                    pass
        writer.close()
    assert [r.levelname for r in caplog.records] == ["ERROR"]
    assert notes[1].frames == []
    if notes[1].opened_with is None:
        assert notes[1].end == "open"  # never opened, so never closed either
    else:
        assert isinstance(await notes[1].ended(), WireError)
    good.send(frames.REQ, 0, 0, 1, b"still served")
    assert (await notes[0].count(1))[0][4] == b"still served"
    good.close()
    await near.ended()
    await notes[0].ended()
    listener.close()


async def test_a_truncated_stream_is_told_and_closed(caplog: pytest.LogCaptureFixture) -> None:
    conn, notes, sink = accepted()
    stream = greeting() + frame(frames.REQ, 0, 0, 1, b"payload")[:-1]
    feed(conn, stream, lambda: 1000)
    conn.eof_received()
    conn.connection_lost(None)
    assert isinstance(notes.end, WireError)
    assert "ended inside a frame" in caplog.text
    assert sink.closed


async def test_who_does_not_greet_in_time_is_closed() -> None:
    conn, _, sink = accepted(Shared(limits=Limits(hello_s=0.0)))
    waited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sink.close = sink.abort = lambda: waited.set_result(None)  # type: ignore[method-assign]
    await waited
    assert "No HELLO" in conn.reason


async def test_a_payload_in_pieces_is_bounded() -> None:
    conn, notes, _ = accepted(Shared(limits=Limits(max_payload=1000)))
    piece = frame(frames.REQ, frames.MORE, 0, 1, bytes(400))
    feed(conn, greeting() + piece * 3, lambda: 1000)
    assert conn.closed
    assert not notes.frames


async def test_nothing_comes_after_the_handler_closed() -> None:
    conn, notes, _ = accepted()
    notes._on_frame = lambda c, f: c.close("enough")
    feed(conn, greeting() + frame(frames.REQ, 0, 0, 1, b"") * 3, lambda: 1000)
    assert len(notes.frames) == 1


async def test_a_broken_handler_ends_its_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    conn, notes, sink = accepted()

    def broken(_: Connection, __: Frame) -> None:
        raise ZeroDivisionError

    notes._on_frame = broken
    feed(conn, greeting() + frame(frames.REQ, 0, 0, 1, b""), lambda: 1000)
    assert sink.closed
    assert "by a mistake here" in caplog.text


async def test_a_wrong_secret_is_an_error_where_it_was_dialled(address: str) -> None:
    from salver.wire.streams import MemoryHub

    dialler = Dialler(MemoryHub())
    listener = await dialler.listen(address, Notes, hello("replica"), SECRET)
    near = Notes()
    with pytest.raises((WireError, ConnectionError)):
        await dialler.dial(address, near, hello("caller"), b"wrong")
    assert near.end == "open"
    listener.close()
    dialler.close()


async def test_dialling_nobody_says_so(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        await dial(f"unix:{tmp_path / 'none'}", Notes(), hello("caller"), SECRET)
    with pytest.raises(ValueError, match="expected unix:/path or memory:name"):
        await dial("tcp:1", Notes(), hello("caller"), SECRET)


async def test_listening_on_a_socket_that_exists(tmp_path: Path) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "s"))
    sock.listen()
    far, near = Notes(), Notes()
    dialler = Dialler()
    listener = await dialler.listen(sock, lambda: far, hello("replica"), SECRET)
    conn = await dialler.dial(listener.address, near, hello("caller"), SECRET)
    assert conn.peer is not None
    assert conn.peer.role == "replica"
    conn.close()
    await near.ended()
    await far.ended()
    listener.close()
    dialler.close()
