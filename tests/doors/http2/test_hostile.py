"""What no client should send: it is told so, others are served, and memory stays where it is."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import h2.events
import pytest
from hpack import Encoder

from salver.doors.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    settings,
    word,
)
from salver.doors.http2.headers import literal
from tests.doors.http2.rig import (
    HELLO,
    REQUEST,
    Client,
    Echo,
    headers,
    of,
    parting_word,
    prefixed,
    said,
)

BLOCK = headers(1)[9:]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(PREFACE + frame(PING, 0, 0, bytes(8)), 1, id="no settings first"),
        pytest.param(HELLO + frame(DATA, 0, 1, b"a"), 1, id="data of an idle stream"),
        pytest.param(HELLO + frame(RST_STREAM, 0, 1, word(8)), 1, id="reset of an idle stream"),
        pytest.param(HELLO + frame(WINDOW_UPDATE, 0, 5, word(1)), 1, id="window of an idle stream"),
        pytest.param(HELLO + frame(WINDOW_UPDATE, 0, 0, word(0)), 1, id="a window by nothing"),
        pytest.param(
            HELLO + frame(WINDOW_UPDATE, 0, 0, word(2**31 - 1)), 3, id="the window overflows"
        ),
        pytest.param(HELLO + frame(WINDOW_UPDATE, 0, 0, b"abc"), 6, id="a window of three bytes"),
        pytest.param(HELLO + settings([(4, 2**31)]), 3, id="a first window too large"),
        pytest.param(HELLO + settings([(5, 100)]), 1, id="frames too small"),
        pytest.param(HELLO + settings([(2, 7)]), 1, id="push is neither on nor off"),
        pytest.param(HELLO + frame(SETTINGS, 0, 0, b"abc"), 6, id="half a setting"),
        pytest.param(HELLO + frame(SETTINGS, 1, 0, bytes(6)), 6, id="an acknowledgement that says"),
        pytest.param(HELLO + frame(SETTINGS, 0, 1), 1, id="settings of a stream"),
        pytest.param(HELLO + frame(PING, 0, 0, b"abc"), 6, id="a short ping"),
        pytest.param(HELLO + frame(PING, 0, 3, bytes(8)), 1, id="a ping of a stream"),
        pytest.param(HELLO + frame(PRIORITY, 0, 0, bytes(5)), 1, id="priority of no stream"),
        pytest.param(HELLO + frame(PUSH_PROMISE, 4, 1, BLOCK), 1, id="a push"),
        pytest.param(HELLO + frame(GOAWAY, 0, 0, b"abc"), 1, id="a short goaway"),
        pytest.param(HELLO + frame(CONTINUATION, 4, 1, b""), 1, id="a continuation of nothing"),
        pytest.param(
            HELLO + frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, bytes(8)), 1, id="torn headers"
        ),
        pytest.param(
            HELLO + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 4, 3, b""), 1,
            id="another's continuation",
        ),
        pytest.param(HELLO + headers(2), 1, id="an even stream"),
        pytest.param(HELLO + headers(0), 1, id="headers of no stream"),
        pytest.param(HELLO + frame(HEADERS, 12, 1, b"\xff" + BLOCK), 1, id="padding is too long"),
        pytest.param(HELLO + frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff"), 9, id="no headers"),
        pytest.param(
            HELLO + headers(1) + frame(DATA, PADDED, 1, b"\x09a"), 1, id="data's padding"
        ),
        pytest.param(HELLO + FRAME.pack(1 << 23 << 8, 0, 1), 6, id="a frame too large"),
        pytest.param(HELLO + FRAME.pack(1 << 19 << 8 | HEADERS, 4, 1), 11, id="headers too large"),
        pytest.param(HELLO + headers(5) + headers(3), 1, id="a stream below the last"),
        pytest.param(HELLO + headers(1, END_STREAM) * 2, 1, id="the same stream again"),
        pytest.param(
            HELLO
            + b"".join(headers(number, fields=of(b"/e/Hold")) for number in range(1, 4097, 2))
            + settings([(4, number % 2) for number in range(1000)]), 11, id="windows of many",
        ),
        pytest.param(HELLO + frame(SETTINGS, ACK, 0) * 20_000, 11, id="acknowledgements"),
        pytest.param(
            HELLO + frame(HEADERS, 0, 1, BLOCK)
            + b"".join(frame(CONTINUATION, 0, 1, bytes(16384)) for _ in range(17)), 11,
            id="continuations for ever",
        ),
        pytest.param(
            HELLO + frame(HEADERS, 0, 1, BLOCK) + frame(CONTINUATION, 0, 1) * 20_000, 11,
            id="empty continuations",
        ),
        pytest.param(HELLO + frame(PING, 0, 0, bytes(8)) * 20_000, 11, id="pings"),
        pytest.param(HELLO + frame(SETTINGS, 0, 0) * 20_000, 11, id="settings"),
        pytest.param(HELLO + frame(77, 0, 0) * 20_000, 11, id="unknown frames"),
        pytest.param(
            HELLO + headers(1, fields=of(b"/e/Hold")) + frame(DATA, 0, 1) * 20_000, 11,
            id="empty data",
        ),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_one_moment")
async def test_what_breaks_the_rules_ends_the_connection_by_its_code(
    echo: Echo, client: Client, data: bytes, code: int
) -> None:
    # -1: the connection was reset while the client still sent.
    assert await parting_word(echo.port, data) in ((code, -1) if len(data) > 10_000 else (code,))
    client.ask(1)
    await client.send(1, prefixed(b"still"))
    assert await client.answer(1) == b"still"


@pytest.mark.usefixtures("_one_moment")
async def test_rapid_resets_are_cut_off(echo: Echo) -> None:
    data = b"".join(
        headers(number, fields=of(b"/e/Hold")) + frame(RST_STREAM, 0, number, word(8))
        for number in range(1, 30_001, 2)
    )
    assert await parting_word(echo.port, HELLO + data) in (11, -1)
    assert all(rpc.over for rpc in echo.held)


async def test_a_bomb_of_headers_is_refused(echo: Echo) -> None:
    """A few bytes that mean megabytes, by the table."""
    block = Encoder().encode([(b"x", b"y" * 3500)], huffman=False) + b"\xbe" * 10_000
    assert await parting_word(echo.port, HELLO + frame(HEADERS, END_HEADERS, 1, block)) == 11


@pytest.mark.parametrize("size", [20_000, 60_000, 200_000])
async def test_headers_above_the_limit_are_refused_and_the_connection_lives(
    client: Client, size: int
) -> None:
    client.h2.send_headers(1, [*REQUEST, (b"x", b"y" * size)])
    client.flush()
    await client.answer(1)
    assert client.fields[1]["grpc-status"] == "8"
    client.ask(3)
    await client.send(3, prefixed(b"a"))
    assert await client.answer(3) == b"a"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b":method", b"GET"), *REQUEST[1:]], (":status", "405")),
        ([*REQUEST[:-1], (b"content-type", b"text/html")], (":status", "415")),
        ([*REQUEST, (b"grpc-timeout", b"soon")], ("grpc-status", "13")),
        ([*REQUEST, (b"grpc-encoding", b"brotli")], ("grpc-status", "12")),
        ([*REQUEST, (b"a-bin", b"%%")], ("grpc-status", "13")),
    ],
)
async def test_a_request_that_is_no_call_is_told(
    client: Client, fields: list[tuple[bytes, bytes]], status: tuple[str, str]
) -> None:
    client.h2.config.validate_outbound_headers = False
    client.h2.send_headers(1, fields, end_stream=True)
    client.flush()
    await client.answer(1)
    assert status in client.fields[1].items()


@pytest.mark.parametrize(
    "fields",
    [
        [*REQUEST, (b"Upper", b"a")],
        [*REQUEST, (b"connection", b"close")],
        [*REQUEST, (b":path", b"/late")],
        [*REQUEST, REQUEST[0]],
        [*REQUEST, (b"a b", b"c")],
        [*REQUEST, (b"a", b"b\nc")],
        [*REQUEST, (b"", b"")],
        [(b":status", b"200"), *REQUEST],
        [(b"te", b"gzip") if name == b"te" else (name, value) for name, value in REQUEST],
        *([field for field in REQUEST if field[0] != name] for name in (b":path", b":scheme")),
    ],
)
async def test_headers_that_http2_does_not_know_reset_the_stream(
    echo: Echo, fields: list[tuple[bytes, bytes]]
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(HELLO + headers(1, fields=fields) + headers(3, END_STREAM))
    writer.write(frame(PING, 0, 3, b""))  # ends the connection
    frames = await said(reader)
    writer.close()
    assert (RST_STREAM, 0, 1, word(1)) in frames


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(DATA, END_STREAM, 1, b"") + frame(DATA, 0, 1, b"late"), 5),
        (headers(1), 1),
        (headers(1, END_STREAM), 1),
        (frame(WINDOW_UPDATE, 0, 1, word(0)), 1),
        (frame(WINDOW_UPDATE, 0, 1, word(2**31 - 1)), 3),
        (frame(DATA, 0, 1, bytes(16384)) * 300, 3),
    ],
)
async def test_what_breaks_the_rules_of_a_stream_ends_the_call(
    echo: Echo, data: bytes, code: int
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(HELLO + headers(1, fields=of(b"/e/Hold")) + data)
    writer.write(frame(PING, 0, 3, b""))  # ends the connection
    frames = await said(reader)
    writer.close()
    assert (RST_STREAM, 0, 1, word(code)) in frames
    assert echo.cancelled.is_set()


async def test_who_comes_when_the_door_is_full_is_turned_away_which_is_logged_once(
    echo: Echo, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    client.ask(1, "/e/Hold")
    while not echo.held:
        await client.hear()
    echo.server.most = 1
    for _ in range(2):
        reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    assert len(echo.server._connections) == 1
    (record,) = caplog.records
    assert "turns clients away: it has 1, and the limit of open files" in record.getMessage()
    client.h2.reset_stream(1)
    client.ask(3)
    await client.send(3, prefixed(b"a"))
    assert await client.answer(3) == b"a"


async def test_a_client_of_http1_is_told_where_it_is(echo: Echo) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"speaks gRPC" in answer


@pytest.mark.parametrize("begun", [b"", b"PRI * HT", HELLO + b"\0\0", HELLO + headers(1)[:20]])
async def test_who_begins_and_falls_silent_is_not_waited_for(
    echo: Echo, begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.doors.http2.protocol._WAIT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    writer.write(begun)
    await said(reader)
    writer.close()


async def test_who_is_busy_is_given_time_anew_for_each_frame_that_is_cut(
    echo: Echo, client: Client
) -> None:
    client.ask(1)
    await client.send(1, prefixed(b"a"))
    await client.answer(1)
    connection: Any = next(iter(echo.server._connections))
    ping = frame(PING, 0, 0, bytes(8))
    for _ in range(2):
        connection.deadline = marked = 1e12
        client.writer.write(ping[4:] if connection._reader.waits else b"")
        client.writer.write(ping + ping[:4])
        count = len(client.events)
        while not any(isinstance(e, h2.events.PingAckReceived) for e in client.events[count:]):
            await client.hear()
        assert 0 < connection.deadline < marked


async def test_who_has_said_hello_may_be_silent(
    echo: Echo, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.ask(1)
    await client.send(1, prefixed(b"a"))
    assert await client.answer(1) == b"a"
    (connection,) = echo.server._connections
    assert connection.deadline == 0.0


async def test_trailers_of_a_client_end_its_stream(echo: Echo, client: Client) -> None:
    client.ask(1, "/e/Hold")
    await client.send(1, prefixed(b"a"), end=False)
    client.h2.send_headers(1, [("x", "y")], end_stream=True)
    client.flush()
    while not echo.held:
        await client.hear()
    assert await echo.held[0].read() == b"a"
    assert await echo.held[0].read() is None


async def test_a_request_in_many_frames_is_one(echo: Echo) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", echo.port)
    block = BLOCK + literal(b"more", b"y")
    writer.write(HELLO + frame(HEADERS, 0, 1, block[:7]) + frame(CONTINUATION, 0, 1, block[7:20]))
    writer.write(frame(CONTINUATION, END_HEADERS, 1, block[20:]))
    for byte in prefixed(b"abc"):
        writer.write(frame(DATA, PADDED, 1, bytes((2, byte, 0, 0))))
    writer.write(frame(PING, 0, 3, b""))  # ends the connection
    frames = await said(reader)
    writer.close()
    assert prefixed(b"abc") in [payload for kind, _, _, payload in frames if kind == DATA]
