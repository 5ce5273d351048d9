"""Streams in both directions: every message, in order, bounded, ended early by either side."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from echo_pb2 import Word
from echo_pb2_grpc import EchoStub

from tests.doors.grpc.queueing import the_one_that_waits
from tests.real.rig import Journal, Running

SPEAKER = (("application", "speaker"),)
THREADED = (("application", "threaded"),)
SLOW = (("application", "slow"),)
LIMIT_S = 60


async def words(*texts: str) -> AsyncIterator[Word]:
    for text in texts:
        yield Word(text=text)


async def deploy(running: Running, app: Any, name: str) -> None:
    await running.deploy(app, name, None)


def test_a_blocking_client_streams_both_ways(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        echo = EchoStub(channel)
        assert [w.times for w in echo.Repeat(Word(times=3), metadata=SPEAKER)] == [0, 1, 2]
        sent = (Word(text=text) for text in "abc")
        assert echo.Gather(sent, metadata=SPEAKER) == Word(text="a b c", times=3)
        sent = (Word(text=text) for text in "abc")
        assert [w.text for w in echo.Chat(sent, metadata=SPEAKER)] == ["A", "B", "C"]


@pytest.mark.parametrize("app", [SPEAKER, THREADED])
async def test_a_thousand_messages_come_in_order(channel: grpc.aio.Channel, app: Any) -> None:
    call = EchoStub(channel).Repeat(Word(text="x", times=1000), metadata=app)
    assert [word.times async for word in call] == list(range(1000))
    assert dict(await call.trailing_metadata())["request_id"]


async def test_a_thousand_messages_go_in_order(channel: grpc.aio.Channel) -> None:
    texts = [str(number) for number in range(1000)]
    answer = await EchoStub(channel).Gather(words(*texts), metadata=SPEAKER)
    assert answer == Word(text=" ".join(texts), times=1000)


async def test_large_messages_stream_both_ways(address: str) -> None:
    part = bytes(range(256)) * 4096
    options = [("grpc.max_receive_message_length", -1)]

    async def parts() -> AsyncIterator[Word]:
        for number in range(8):
            yield Word(data=bytes([number]) + part)

    async with grpc.aio.insecure_channel(address, options=options) as channel:
        answer = await EchoStub(channel).Gather(parts(), metadata=SPEAKER)
        assert answer.data == b"".join(bytes([number]) + part for number in range(8))
        call = EchoStub(channel).Repeat(Word(data=part, times=8), metadata=SPEAKER)
        assert [word.data == part async for word in call] == [True] * 8


async def test_empty_messages_are_messages(channel: grpc.aio.Channel) -> None:
    answer = await EchoStub(channel).Gather(words("", "", ""), metadata=SPEAKER)
    assert answer == Word(text="  ", times=3)


async def test_a_stream_without_messages_is_a_stream(channel: grpc.aio.Channel) -> None:
    assert await EchoStub(channel).Gather(words(), metadata=SPEAKER) == Word()
    assert [w async for w in EchoStub(channel).Chat(words(), metadata=SPEAKER)] == []
    assert [w async for w in EchoStub(channel).Repeat(Word(), metadata=SPEAKER)] == []


async def test_a_conversation_answers_each_word_before_the_next(channel: grpc.aio.Channel) -> None:
    call = EchoStub(channel).Chat(metadata=SPEAKER)
    for text in "abc":
        await call.write(Word(text=text))
        assert (await call.read()).text == text.upper()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_a_def_that_reads_a_stream_is_told_how(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await EchoStub(channel).Gather(words("a"), metadata=THREADED)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "`async for`, in a method that is `async def`" in (caught.value.details() or "")


async def test_what_a_method_yields_before_it_raises_arrives(channel: grpc.aio.Channel) -> None:
    call = channel.unary_stream("/echo.Echo/Repeat")(b"\xff\xff", metadata=SPEAKER)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


# ---- ended early


async def test_a_client_that_cancels_ends_the_method(
    running: Running, apps: Any, channel: grpc.aio.Channel, journal: Journal
) -> None:
    await deploy(running, apps.Slow.bind(journal.path), "slow")
    echo = EchoStub(channel)
    for name, method in (("say", echo.Say), ("repeat", echo.Repeat)):
        call = method(Word(text=name), metadata=SLOW)
        await journal.until(f"begun {name}")
        call.cancel()
        await journal.until(f"cancelled {name}")


async def test_a_client_that_cancels_ends_what_the_method_has_called(
    running: Running, apps: Any, channel: grpc.aio.Channel, journal: Journal
) -> None:
    """And a queue that is full there is told as one that is full here."""
    await deploy(running, apps.Asking.bind(apps.Slow.bind(journal.path)), "asking")
    asking = (("application", "asking"),)
    first = EchoStub(channel).Say(Word(text="first"), metadata=asking)
    await journal.until("begun first")
    second = await the_one_that_waits(
        *(EchoStub(channel).Say(Word(text="second"), metadata=asking) for _ in range(2))
    )
    first.cancel()
    await journal.until("cancelled first", "begun second")
    second.cancel()
    await journal.until("cancelled second")


async def test_a_client_that_cuts_its_stream_is_not_taken_for_one_that_has_sent_all(
    running: Running, apps: Any, channel: grpc.aio.Channel, journal: Journal
) -> None:
    await deploy(running, apps.Slow.bind(journal.path), "slow")
    for number in range(50):
        call = EchoStub(channel).Gather(metadata=SLOW)
        await call.write(Word(text=str(number)))
        await journal.until(f"got {number}")
        call.cancel()
        assert await journal.next("cancelled") == ["True"]
    assert "ended gather" not in journal.lines


async def test_a_conversation_that_is_cut_is_not_taken_for_one_that_has_ended(
    running: Running, apps: Any, channel: grpc.aio.Channel, journal: Journal
) -> None:
    await deploy(running, apps.Listener.bind(journal.path), "listener")
    listener = (("application", "listener"),)
    for number in range(50):
        call = EchoStub(channel).Chat(metadata=listener)
        await call.write(Word(text="a"))
        assert (await call.read()).text == "a"
        if number % 5:
            call.cancel()
            assert await journal.next("cut") == ["False"]
        else:
            await call.done_writing()
            assert (await call.read()).text == "bye"
            assert await journal.next("whole") == ["True"]
    assert journal.lines == []


async def test_a_method_that_cancels_the_stream_needs_no_more_of_the_client(
    running: Running, apps: Any, channel: grpc.aio.Channel
) -> None:
    await deploy(running, apps.Stops.bind(), "stops")
    call = EchoStub(channel).Gather(metadata=(("application", "stops"),))
    for text in ("some", "enough"):  # and no word that this was all
        await call.write(Word(text=text))
    assert await call == Word(text="some enough", times=1)


async def test_a_client_that_streams_to_no_app_is_told_at_once(channel: grpc.aio.Channel) -> None:
    call = EchoStub(channel).Gather(metadata=(("application", "nobody"),))
    assert await call.code() is grpc.StatusCode.NOT_FOUND


async def test_a_client_s_deadline_ends_the_method(
    running: Running, apps: Any, channel: grpc.aio.Channel, journal: Journal
) -> None:
    await deploy(running, apps.Slow.bind(journal.path), "slow")
    for method in (EchoStub(channel).Say, EchoStub(channel).Repeat):
        call = method(Word(text="late"), metadata=SLOW, timeout=1)
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await journal.next("cancelled")


# ---- bounded


async def test_a_method_is_held_to_the_pace_of_a_client_that_does_not_read(
    running: Running, apps: Any, channel: grpc.aio.Channel, journal: Journal
) -> None:
    await deploy(running, apps.Flood.bind(journal.path), "flood")
    call = EchoStub(channel).Repeat(Word(times=1000), metadata=(("application", "flood"),))
    await call.read()
    await journal.until("sent 3")
    await channel.channel_ready()
    assert len(journal.named("sent")) < 100
    call.cancel()
    await journal.until("closed repeat")
    assert len(journal.named("sent")) < 100


async def test_a_client_is_held_to_the_pace_of_a_method_that_does_not_read(
    running: Running, apps: Any, address: str, journal: Journal
) -> None:
    await deploy(running, apps.Slow.bind(journal.path), "slow")
    sent = 0

    async def endless() -> AsyncIterator[Word]:
        nonlocal sent
        while True:
            yield Word(data=bytes(1 << 20))
            sent += 1

    async with grpc.aio.insecure_channel(address) as channel:
        call = EchoStub(channel).Chat(endless(), metadata=SLOW)
        assert (await call.read()).text == "hello"
        for _ in range(200):  # round trips, in which an unbounded client would send all it can
            await EchoStub(channel).Say(Word(), metadata=SPEAKER)
        assert sent < 100
        call.cancel()
        await journal.until("cancelled chat")
