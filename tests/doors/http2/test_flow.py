"""Windows in both directions, seen by another implementation of HTTP/2."""

from __future__ import annotations

import asyncio

import h2.events
import h2.settings
import pytest

from salver.doors.grpc.calls import UnaryCall
from salver.doors.grpc.door import GrpcDoor
from salver.doors.grpc.rpc import Rpc
from salver.doors.http2.connection import CONNECTION_WINDOW, Connection
from salver.doors.http2.frames import (
    ACK,
    DATA,
    GOAWAY,
    NO_ERROR,
    PING,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    frame,
    word,
)
from salver.doors.http2.stream import WINDOW
from salver.spec.grpc import gRPCOptions
from tests.doors.http2.rig import HELLO, Client, Echo, Raw, headers, of, prefixed


async def test_a_message_goes_and_comes_back(client: Client) -> None:
    client.ask(1)
    await client.send(1, prefixed(b"hello"))
    assert await client.answer(1) == b"hello"
    assert client.fields[1][":status"] == "200"
    assert client.fields[1]["grpc-status"] == "0"
    assert client.fields[1]["request_id"] == "r"


async def test_messages_that_are_longer_than_all_windows_pass_both_ways(client: Client) -> None:
    message = bytes(range(256)) * (4 * WINDOW // 256 - 1)
    for number in (1, 3, 5, 7, 9, 11):  # more than the connection's window in all
        client.ask(number)
        await client.send(number, prefixed(message))
        assert await client.answer(number) == message
    assert 6 * len(message) > CONNECTION_WINDOW


async def test_many_streams_share_a_window(client: Client) -> None:
    messages = {number: bytes((number,)) * 100_000 for number in range(1, 80, 2)}
    for number, message in messages.items():
        client.ask(number)
        await client.send(number, prefixed(message))
    for number, message in messages.items():
        assert await client.answer(number) == message


async def test_a_client_that_takes_nothing_is_sent_its_window_and_no_more(
    echo: Echo, client: Client
) -> None:
    client.ask(1)
    await client.send(1, prefixed(bytes(1 << 20)))
    while sum(map(len, client.bodies.values())) < 65535:
        await client.hear(takes=False)
    client.h2.ping(b"12345678")
    client.flush()
    while not any(isinstance(event, h2.events.PingAckReceived) for event in client.events):
        await client.hear(takes=False)
    assert len(client.bodies[1]) == 65535
    client.h2.increment_flow_control_window(1 << 20)
    client.h2.increment_flow_control_window(1 << 20, 1)
    client.flush()
    assert await client.answer(1) == bytes(1 << 20)


@pytest.mark.parametrize("path", ["/e/Echo", "/e/Hold"])
async def test_what_a_client_asks_for_begins_when_it_has_taken_enough_of_what_waits_for_it(
    echo: Echo, client: Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("salver.doors.http2.connection._FULL", 1 << 20)
    large = bytes(1 << 20)
    for number in (1, 3):
        client.ask(number)
        await client.send(number, prefixed(large))
    (connection,) = echo.server._connections
    for number in (5, 7, 9):
        client.ask(number, path)
        await client.send(number, prefixed(b"small"))
    client.h2.reset_stream(9)
    client.h2.ping(b"12345678")
    client.flush()
    while not any(isinstance(event, h2.events.PingAckReceived) for event in client.events):
        await client.hear(takes=False)
    assert [stream.id for stream in connection.held] == [5, 7]
    assert echo.held == []
    assert connection.full
    client.h2.increment_flow_control_window(1 << 22)
    for number in (1, 3):
        client.h2.increment_flow_control_window(1 << 22, number)
    client.flush()
    for number in (1, 3):
        assert await client.answer(number) == large
    if path == "/e/Hold":
        for held in echo.held:
            assert await held.read() == b"small"
            held.answer(b"small", "r")
    for number in (5, 7):
        assert await client.answer(number) == b"small"
    assert not connection.held
    assert connection.queued == 0


async def test_what_is_asked_for_while_too_much_waits_is_bounded_by_the_window(
    echo: Echo, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.doors.http2.connection._FULL", 1)
    client.ask(1)
    await client.send(1, prefixed(bytes(1 << 20)))
    (connection,) = echo.server._connections
    for number in (3, 5):
        client.ask(number)
        await client.send(number, prefixed(b"held") * 2)
    client.h2.reset_stream(5)
    client.h2.ping(b"12345678")
    client.flush()
    while not any(isinstance(event, h2.events.PingAckReceived) for event in client.events):
        await client.hear(takes=False)
    size = len(prefixed(b"held")) * 2
    assert CONNECTION_WINDOW - connection.room - connection.owed == size
    client.h2.reset_stream(1)  # which makes room, too
    client.h2.increment_flow_control_window(1 << 20)
    client.flush()
    assert await client.answer(3) == b"held"
    assert CONNECTION_WINDOW - connection.room - connection.owed == 0


async def test_an_answer_is_dropped_where_far_too_much_waits_for_its_client(
    echo: Echo, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.doors.grpc.door._MOST_QUEUED", 1 << 20)
    door = GrpcDoor(gRPCOptions(), asyncio.get_running_loop(), lambda _: pytest.fail("No router."))

    def answer(rpc: Rpc, message: bytes) -> None:
        door.ended(UnaryCall(door, rpc, message), rpc, None, message, None)

    monkeypatch.setattr(echo, "begin", answer)
    for number, size in ((1, 2 << 20), (3, 1 << 20), (5, 1000)):
        client.ask(number)
        await client.send(number, prefixed(bytes(size)))
    assert await client.answer(3) == b""
    assert client.fields[3]["grpc-status"] == "8"
    assert "wait for this client already" in client.fields[3]["grpc-message"]
    assert await client.answer(1) == bytes(2 << 20)
    assert await client.answer(5) == bytes(1000)
    assert door.by_code == {0: 2, 8: 1}


async def test_a_window_that_is_made_smaller_holds(client: Client) -> None:
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
    client.flush()
    client.ask(1)
    await client.send(1, prefixed(b"x" * 100))
    assert await client.answer(1) == b"x" * 100


async def test_a_window_that_is_narrowed_below_nothing_stays_shut_until_it_is_open(
    client: Client,
) -> None:
    """Two answers wait for the connection's window when their own ones are taken back."""
    for number in (1, 3):
        client.ask(number)
        await client.send(number, prefixed(bytes((number,)) * 50_000))
    while sum(map(len, client.bodies.values())) < 65535:
        await client.hear(takes=False)
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})
    client.h2.increment_flow_control_window(1 << 20)
    client.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
    client.flush()
    for number in (1, 3):
        assert await client.answer(number) == bytes((number,)) * 50_000


async def test_a_smaller_header_table_is_acknowledged(client: Client) -> None:
    client.h2.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
    client.flush()
    for number in (1, 3):
        client.ask(number)
        await client.send(number, prefixed(b"a"))
        assert await client.answer(number) == b"a"


async def test_a_client_is_held_to_the_pace_of_whoever_does_not_read(
    echo: Echo, client: Client
) -> None:
    client.ask(1, "/e/Hold")
    while client.h2.local_flow_control_window(1) <= 65535:
        await client.hear()
    room = client.h2.local_flow_control_window(1)
    assert room == WINDOW
    message = prefixed(bytes(WINDOW // 8 - 5))
    for _ in range(8):
        await client.send(1, message, end=False)
    assert client.h2.local_flow_control_window(1) == 0
    client.ask(3)  # others are answered
    await client.send(3, prefixed(b"a"))
    assert await client.answer(3) == b"a"
    assert client.h2.local_flow_control_window(1) == 0
    (held,) = echo.held
    for _ in range(8):
        assert await held.read() == bytes(WINDOW // 8 - 5)
    await client.send(1, prefixed(b"more"))
    assert await held.read() == b"more"
    assert await held.read() is None


async def test_what_nobody_read_of_a_call_that_is_over_is_room_again(
    echo: Echo, client: Client
) -> None:
    for number in range(1, 2 * CONNECTION_WINDOW // WINDOW + 9, 2):
        client.ask(number, "/e/Hold")
        await client.send(number, prefixed(bytes(WINDOW - 5)), end=False)
        client.h2.reset_stream(number)
        client.flush()


async def test_a_client_that_resets_cancels(echo: Echo, client: Client) -> None:
    client.ask(1, "/e/Hold")
    client.h2.reset_stream(1)
    client.flush()
    await echo.cancelled.wait()
    assert echo.held[0].over


HOLD = of(b"/e/Hold")


async def test_the_end_takes_what_is_on_its_way_answers_it_and_refuses_the_rest(
    echo: Echo,
) -> None:
    raw = await Raw.connect(echo.port)
    raw.writer.write(HELLO + headers(1, fields=HOLD))
    await raw.frame(SETTINGS)
    ending = asyncio.ensure_future(echo.server.drain(20))
    assert await raw.frame(GOAWAY) == (0, 0, word(2**31 - 1) + word(NO_ERROR))
    _, _, farewell = await raw.frame(PING)
    raw.writer.write(headers(3, fields=HOLD))  # sent before it has read that
    raw.writer.write(frame(PING, ACK, 0, farewell))
    assert await raw.frame(GOAWAY) == (0, 0, word(3) + word(NO_ERROR))
    raw.writer.write(headers(5, fields=HOLD))
    assert await raw.frame(RST_STREAM) == (0, 5, word(REFUSED_STREAM))
    for held in echo.held:
        held.answer(b"last", "r")
    for number in (1, 3):
        assert (await raw.frame(DATA))[1:] == (number, prefixed(b"last"))
    await raw.reader.read()  # all is said
    raw.writer.close()
    await ending


async def test_the_end_does_not_wait_for_who_does_not_hear_of_it(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.doors.http2.server._FAREWELL_S", 0.01)
    raw = await Raw.connect(echo.port)
    raw.writer.write(HELLO)
    await raw.frame(SETTINGS)
    ending = asyncio.ensure_future(echo.server.drain(20))
    assert await raw.frame(GOAWAY) == (0, 0, word(2**31 - 1) + word(NO_ERROR))
    assert await raw.frame(GOAWAY) == (0, 0, word(0) + word(NO_ERROR))
    await raw.reader.read()
    raw.writer.close()
    await ending


async def test_who_says_hello_at_the_end_is_greeted_before_it_is_told_so(
    echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    came = asyncio.Event()
    opened = echo.server.opened

    def note(connection: Connection) -> bool:
        came.set()
        return opened(connection)

    monkeypatch.setattr(echo.server, "opened", note)
    raw = await Raw.connect(echo.port)
    raw.writer.write(HELLO[:5])
    await came.wait()
    ending = asyncio.ensure_future(echo.server.drain(20))
    await asyncio.sleep(0)
    raw.writer.write(HELLO[5:] + headers(1, fields=HOLD))
    assert (await raw.frame(SETTINGS))[0] == 0
    assert await raw.frame(GOAWAY) == (0, 0, word(2**31 - 1) + word(NO_ERROR))
    _, _, farewell = await raw.frame(PING)
    raw.writer.write(frame(PING, ACK, 0, farewell))
    assert await raw.frame(GOAWAY) == (0, 0, word(1) + word(NO_ERROR))
    echo.held[0].answer(b"last", "r")
    assert (await raw.frame(DATA))[2] == prefixed(b"last")
    raw.writer.close()
    await ending


async def test_who_is_answered_early_may_finish_and_is_told_nothing_then(
    echo: Echo, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.doors.http2.connection._STOP_S", 3600)
    client.ask(1)
    await client.send(1, prefixed(b"a"), end=False)
    assert await client.answer(1) == b"a"
    (connection,) = echo.server._connections
    assert list(connection.unheard) == [1]
    client.h2.send_data(1, b"more", end_stream=True)
    client.h2.ping(b"12345678")
    client.flush()
    while not any(isinstance(event, h2.events.PingAckReceived) for event in client.events):
        await client.hear()
    assert not connection.unheard
    assert not any(isinstance(event, h2.events.StreamReset) for event in client.events)


async def test_who_is_answered_early_and_goes_on_is_told_to_stop(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salver.doors.http2.connection._STOP_S", 0.01)
    client.ask(1)
    await client.send(1, prefixed(b"a"), end=False)
    assert await client.answer(1) == b"a"
    while not (told := [e for e in client.events if isinstance(e, h2.events.StreamReset)]):
        await client.hear()
    assert told[0].error_code == 0
