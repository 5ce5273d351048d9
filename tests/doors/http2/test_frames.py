"""Frames and messages out of bytes, however these are cut."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.doors.grpc.messages import (
    PREFIX,
    Assembly,
    MessageFault,
    compressed,
    decompressed,
)
from salver.doors.http2.frames import (
    BLOCK,
    DATA,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME,
    FRAME_SIZE_ERROR,
    LONGEST,
    PADDED,
    ConnectionFault,
    FrameReader,
    frame,
)
from salver.doors.http2.headers import HeadReader, literal

FRAMES = st.lists(
    st.tuples(
        st.sampled_from([DATA, 1, 3, 4, 6, 8, 9, 77]),
        st.binary(max_size=40),
        st.integers(0, 12),
    ),
    max_size=6,
)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(edge % (len(data) + 1) for edge in at), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(frames=FRAMES, at=st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_are_the_same_however_their_bytes_are_cut(
    frames: list[tuple[int, bytes, int]], at: list[int]
) -> None:
    data = b""
    for number, (kind, payload, padding) in enumerate(frames):
        if kind == DATA and padding:
            payload = bytes((padding - 1,)) + payload + bytes(padding - 1)
        flags = END_STREAM | (PADDED if kind == DATA and padding else 0)
        data += frame(kind, flags, number, payload)
    reader = FrameReader()
    found: dict[int, tuple[int, bytes, int]] = {}
    ended: list[int] = []
    for piece in cut(data, at):
        for kind, flags, number, payload, padding in reader.read(piece):
            _, before, _ = found.get(number, (kind, b"", 0))
            found[number] = kind, before + payload, padding
            ended += [number] if flags & END_STREAM else []
    assert ended == list(range(len(frames)))
    assert not reader.waits
    assert list(found.values()) == [
        (kind, payload, padding if kind == DATA else 0) for kind, payload, padding in frames
    ]


@pytest.mark.parametrize(
    ("kind", "size", "code"),
    [
        (0, LONGEST + 1, FRAME_SIZE_ERROR),
        (1, LONGEST, ENHANCE_YOUR_CALM),
        (1, LONGEST + 1, FRAME_SIZE_ERROR),
        (4, LONGEST, ENHANCE_YOUR_CALM),
        (6, LONGEST, FRAME_SIZE_ERROR),
        (9, BLOCK + 262, ENHANCE_YOUR_CALM),
        (77, LONGEST + 1, FRAME_SIZE_ERROR),
    ],
)
def test_a_frame_that_is_too_long_is_refused_by_its_head(kind: int, size: int, code: int) -> None:
    with pytest.raises(ConnectionFault) as caught:
        list(FrameReader().read(FRAME.pack(size << 8 | kind, 0, 1)))
    assert caught.value.code == code


@pytest.mark.parametrize("kind", [DATA, 77])
def test_a_frame_of_the_length_that_is_announced_is_let_in(kind: int) -> None:
    reader = FrameReader()
    assert len(list(reader.read(frame(kind, PADDED * (kind > 9), 1, bytes(LONGEST))))) == 1
    assert not reader.waits


def test_data_is_passed_on_before_its_frame_is_whole() -> None:
    reader = FrameReader()
    pieces = list(reader.read(FRAME.pack(LONGEST << 8, END_STREAM, 1) + b"abc"))
    assert pieces == [(DATA, 0, 1, b"abc", 0)]
    assert not reader.waits


@given(
    messages=st.lists(st.binary(max_size=60), max_size=6),
    at=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_messages_are_the_same_however_their_bytes_are_cut(
    messages: list[bytes], at: list[int]
) -> None:
    assembly = Assembly(60)
    data = b"".join(PREFIX.pack(0, len(message)) + message for message in messages)
    found = [bytes(m) for piece in cut(data, at) for _, m in assembly.feed(piece)]
    assert found == messages
    assert len(assembly) == 0


def test_a_message_that_is_too_long_is_refused_by_its_prefix() -> None:
    with pytest.raises(MessageFault, match="max_receive_message_bytes=10"):
        Assembly(10).feed(PREFIX.pack(0, 11))


@given(message=st.binary(max_size=1000))
def test_what_is_compressed_comes_back(message: bytes) -> None:
    for encoding in ("gzip", "deflate"):
        assert decompressed(encoding, compressed(encoding, message), 1000) == message


def test_what_grows_too_long_when_it_is_unpacked_is_refused() -> None:
    with pytest.raises(MessageFault, match="more than"):
        decompressed("gzip", compressed("gzip", bytes(1 << 20)), 1000)
    with pytest.raises(MessageFault, match="is cut"):
        decompressed("gzip", compressed("gzip", b"abc")[:-3], 1000)


FIELD = st.tuples(
    st.text("abcdef-", min_size=1, max_size=8).map(str.encode), st.binary(max_size=300)
)


@given(blocks=st.lists(st.lists(FIELD, max_size=5), max_size=12), sensitive=st.booleans())
def test_remembered_blocks_mean_what_they_mean_now(
    blocks: list[list[tuple[bytes, bytes]]], sensitive: bool
) -> None:
    """Against an encoder with a small table, whose indices soon mean something else."""
    reader: HeadReader[list[Any]] = HeadReader(lambda fields: [tuple(field) for field in fields])
    encoder = hpack.Encoder()
    encoder.header_table_size = 256
    for fields in [*blocks, *blocks]:
        assert reader.read(encoder.encode(fields)) == fields
        again = hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*f) for f in fields])
        assert reader.read(again) == fields


@given(name=st.binary(min_size=1, max_size=400), value=st.binary(max_size=40_000))
def test_what_is_written_is_read(name: bytes, value: bytes) -> None:
    assert hpack.Decoder().decode(literal(name, value), raw=True) == [(name, value)]


@given(block=st.binary(max_size=60))
def test_any_bytes_are_headers_or_a_fault(block: bytes) -> None:
    reader: HeadReader[list[Any]] = HeadReader(list)
    with suppress(ConnectionFault):
        reader.read(block)
