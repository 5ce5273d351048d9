"""Unary calls, by gRPC's own clients: answers, metadata in and out, and every status code."""

from __future__ import annotations

import asyncio
import re
from ast import literal_eval
from typing import Any

import grpc
import pytest
from echo_pb2 import Number, Word
from echo_pb2_grpc import CounterStub, EchoStub

from salver.replica.grpc.status import cut

SPEAKER = (("application", "speaker"),)
THREADED = (("application", "threaded"),)
LIMIT_S = 60


async def fails(call: Any) -> grpc.aio.AioRpcError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def act(channel: grpc.aio.Channel, what: str, **word: Any) -> Any:
    return EchoStub(channel).Act(Word(text=what, **word), metadata=SPEAKER, timeout=LIMIT_S)


def test_a_blocking_client_is_answered(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        echo = EchoStub(channel)
        assert echo.Say(Word(text="hi", data=b"\0"), metadata=SPEAKER) == Word(
            text="hi!", data=b"\0"
        )
        assert echo.Say(Word(text="hi"), metadata=THREADED) == Word(text="hi?")


async def test_many_calls_at_once_get_their_own_answers(channel: grpc.aio.Channel) -> None:
    echo = EchoStub(channel)
    calls = [echo.Say(Word(text=str(number)), metadata=SPEAKER) for number in range(500)]
    answers = await asyncio.gather(*calls)
    assert [answer.text for answer in answers] == [f"{number}!" for number in range(500)]


async def test_each_service_has_its_methods(channel: grpc.aio.Channel) -> None:
    answer = await CounterStub(channel).Count(Word(text="four"), metadata=SPEAKER)
    assert answer == Number(value=4)


async def test_an_empty_message_is_a_message(channel: grpc.aio.Channel) -> None:
    assert await CounterStub(channel).Count(Word(), metadata=SPEAKER) == Number()


@pytest.mark.parametrize("size", [60_000, 70_000, 300_000, 8 << 20])
async def test_large_messages_come_whole_both_ways(address: str, size: int) -> None:
    data = bytes(range(256)) * (size // 256)
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        answer = await EchoStub(channel).Say(Word(data=data), metadata=SPEAKER)
    assert answer.data == data


async def test_a_message_above_the_limit_is_refused(channel: grpc.aio.Channel) -> None:
    error = await fails(EchoStub(channel).Say(Word(data=bytes(65 << 20)), metadata=SPEAKER))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


# ---- metadata


async def test_metadata_reaches_the_method(channel: grpc.aio.Channel) -> None:
    metadata = (
        *SPEAKER, ("multiplexed_model_id", "m7"), ("request_id", "r1"), ("session_id", "s9"),
        ("traceparent", "00-a-b-01"), ("mine", "yes"), ("mine-bin", b"\xff"),
    )  # fmt: skip
    answer = await EchoStub(channel).Act(Word(text="tell"), metadata=metadata)
    assert literal_eval(answer.text) == (
        "speaker", "m7", "r1", "s9", "00-a-b-01", "yes", b"\xff", "ipv4", "m7"
    )  # fmt: skip


async def test_the_request_id_goes_back(channel: grpc.aio.Channel) -> None:
    call = EchoStub(channel).Say(Word(), metadata=(*SPEAKER, ("request_id", "mine")))
    assert dict(await call.trailing_metadata()) == {"request_id": "mine"}


async def test_a_call_without_a_request_id_is_given_one_that_both_sides_know(
    channel: grpc.aio.Channel,
) -> None:
    call = act(channel, "tell")
    told = literal_eval((await call).text)[2]
    assert dict(await call.trailing_metadata())["request_id"] == told != ""


async def test_trailing_metadata_is_the_method_s_but_for_the_request_id(
    channel: grpc.aio.Channel,
) -> None:
    call = act(channel, "trail")
    trailing = list(await call.trailing_metadata())
    assert ("a", "1") in trailing
    assert ("b-bin", b"\0") in trailing
    assert [value for key, value in trailing if key == "request_id"] != ["forged"]
    assert len([key for key, _ in trailing if key == "request_id"]) == 1


@pytest.mark.parametrize(
    "pair",
    [
        ("A", "x"), ("", "x"), ("a b", "x"), (":status", "200"), ("grpc-status", "0"),
        ("connection", "close"), ("a", "x\ny"), ("a", "\u00fc"), ("a", b"x"), ("a-bin", "x"),
    ],
)  # fmt: skip
async def test_trailing_metadata_that_no_header_can_carry_are_refused(
    channel: grpc.aio.Channel, pair: tuple[str, Any]
) -> None:
    call = act(channel, "trail_what", data=repr(pair).encode())
    assert await call.code() is grpc.StatusCode.INTERNAL
    assert f"TypeError: set_trailing_metadata(): {pair!r} is not valid: expected" in (
        await call.details()
    )
    assert [key for key, _ in await call.trailing_metadata()] == ["request_id"]


async def test_answers_are_compressed_where_the_method_says_so(address: str) -> None:
    passed = 0
    over = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = address.partition(":")
        back, forth = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, forth, 0), copy(back, writer, 1))
        over.set()

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter, counts: int) -> None:
        nonlocal passed
        while data := await source.read(65536):
            passed += len(data) * counts
            sink.write(data)
        sink.close()
        await sink.wait_closed()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            assert (await act(channel, "compress", times=100_000)).data == bytes(100_000)
        await over.wait()
    assert passed < 10_000


async def test_compressed_requests_are_understood(address: str) -> None:
    async with grpc.aio.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        answer = await EchoStub(channel).Say(Word(data=bytes(100_000)), metadata=SPEAKER)
    assert answer.data == bytes(100_000)


# ---- status codes


async def test_the_method_s_code_details_and_metadata_go_back(channel: grpc.aio.Channel) -> None:
    error = await fails(act(channel, "code_and_return"))
    assert error.code() is grpc.StatusCode.DATA_LOSS
    assert error.details() == "all gone"
    assert dict(error.trailing_metadata())["where"] == "here"
    assert dict(error.trailing_metadata())["request_id"]


async def test_a_code_that_was_set_holds_when_the_method_raises(channel: grpc.aio.Channel) -> None:
    error = await fails(act(channel, "code_and_raise"))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS
    assert error.details() == "KeyError: 'twice'"


async def test_a_status_error_is_its_status(channel: grpc.aio.Channel) -> None:
    error = await fails(act(channel, "status_error"))
    assert (error.code(), error.details()) == (grpc.StatusCode.OUT_OF_RANGE, "too far")


async def test_an_exception_is_internal_and_tells_its_message(channel: grpc.aio.Channel) -> None:
    error = await fails(act(channel, "crash", data=b"no \xe2\x82\xac"))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "ValueError: no €")


@pytest.mark.parametrize("text", ["x" * 100_000, "€" * 100_000, "\n" * 100_000])
async def test_long_details_are_cut_so_that_they_arrive(
    channel: grpc.aio.Channel, text: str
) -> None:
    error = await fails(act(channel, "crash", data=text.encode()))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == cut(f"ValueError: {text}")
    assert 500 < len(error.details()) <= 4096


async def test_what_is_no_answer_is_internal(channel: grpc.aio.Channel) -> None:
    error = await fails(act(channel, "wrong"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "Act gave str ('a str'), which is no message that /echo.Echo/Act" in error.details()


async def test_an_exit_ends_the_call_and_not_the_replica(channel: grpc.aio.Channel) -> None:
    error = await fails(act(channel, "exit"))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert (await act(channel, "trail")).text == "ok"


async def test_an_exception_in_a_thread_is_internal(channel: grpc.aio.Channel) -> None:
    error = await fails(EchoStub(channel).Act(Word(text="no"), metadata=THREADED))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "RuntimeError: no")


async def test_a_message_that_cannot_be_read_is_an_invalid_argument(
    channel: grpc.aio.Channel,
) -> None:
    for app in (SPEAKER, THREADED):
        error = await fails(channel.unary_unary("/echo.Echo/Say")(b"\xff\xff\xff", metadata=app))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error.details().startswith("The request of /echo.Echo/Say cannot be read")


async def test_a_method_that_the_deployment_has_not_is_unimplemented(
    channel: grpc.aio.Channel,
) -> None:
    error = await fails(EchoStub(channel).Missing(Word(), metadata=SPEAKER))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert re.match(r"Deployment Speaker has no method 'Missing'.*'Say'", error.details())
    error = await fails(channel.unary_unary("/echo.Echo/Never")(b"", metadata=SPEAKER))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_app_is_named_where_there_are_several(channel: grpc.aio.Channel) -> None:
    error = await fails(EchoStub(channel).Say(Word()))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "There are: speaker, threaded." in error.details()
    error = await fails(EchoStub(channel).Say(Word(), metadata=(("application", "nobody"),)))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "Application 'nobody' not found. There are: speaker, threaded."
