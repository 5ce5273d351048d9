"""What a door tells of its calls: lines of the access log, numbers on the page of metrics."""

from __future__ import annotations

import re
from typing import Any

import grpc
import httpx
import pytest
from echo_pb2 import Word
from echo_pb2_grpc import EchoStub
from prometheus_client.parser import text_string_to_metric_families

from salver.spec.grpc import gRPCOptions
from salver.spec.logging import LoggingConfig
from tests.doors.grpc.conftest import SERVICES
from tests.doors.grpc.queueing import the_one_that_waits
from tests.real.rig import Journal, Running

OPTIONS = gRPCOptions(port=0, grpc_servicer_functions=SERVICES)


async def words(count: int) -> Any:
    for number in range(count):
        yield Word(text=str(number))


async def test_the_access_log_has_the_status_of_every_call(apps: Any, journal: Journal) -> None:
    """Replicas log what they answer, the door what it answers itself."""
    with Running.start(logging=LoggingConfig(enable_access_log=True), grpc=OPTIONS) as running:
        await running.deploy(apps.Speaker.bind(), "one", None)
        async with grpc.aio.insecure_channel(running.instance.grpc_address) as channel:
            echo = EchoStub(channel)
            await echo.Say(Word())
            assert [word.times async for word in echo.Repeat(Word(times=2))] == [0, 1]
            assert (await echo.Gather(words(2))).times == 2
            for text in ("code_and_return", "crash", "status_error"):
                await echo.Act(Word(text=text)).code()
            await channel.unary_stream("/echo.Echo/Repeat")(b"\xff").code()
            await echo.Missing(Word()).code()
            # Of these no replica hears.
            await echo.Say(Word(), metadata=(("application", "nobody"),)).code()
            await channel.unary_unary("/echo.Echo/Never")(b"").code()
            await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"")
            await running.deploy(apps.Slow.bind(journal.path), "one", None)
            call = echo.Say(Word(text="a"), metadata=(("request_id", "mine"),))
            await journal.until("begun a")
            call.cancel()
            await running.log.until("mine GRPC /echo.Echo/Say CANCELLED")
        lines = re.findall(r"GRPC (\S+) ([A-Z_]+)( [0-9.]+ms)?$", running.log.text, re.MULTILINE)
    replicas = [(path.rpartition("/")[2], status) for path, status, took in lines if took]
    assert replicas == [
        ("Say", "OK"), ("Repeat", "OK"), ("Gather", "OK"), ("Act", "DATA_LOSS"),
        ("Act", "INTERNAL"), ("Act", "OUT_OF_RANGE"), ("Repeat", "INVALID_ARGUMENT"),
        ("Missing", "UNIMPLEMENTED"), ("Say", "CANCELLED"),
    ]  # fmt: skip
    door = [(path.rpartition("/")[2], status) for path, status, took in lines if not took]
    assert door == [("Say", "NOT_FOUND"), ("Never", "UNIMPLEMENTED"), ("ServerLive", "OK")]


async def test_the_page_of_metrics_counts_calls_by_their_status(
    apps: Any, journal: Journal
) -> None:
    with Running.start(grpc=OPTIONS) as running:
        await running.deploy(apps.Speaker.bind(), "speaker", None)
        await running.deploy(apps.Slow.bind(journal.path), "slow", None)
        slow = (("application", "slow"),)
        speaker = (("application", "speaker"),)
        async with grpc.aio.insecure_channel(running.instance.grpc_address) as channel:
            echo = EchoStub(channel)
            for _ in range(3):
                await echo.Say(Word(), metadata=speaker)
            assert len([w async for w in echo.Repeat(Word(times=2), metadata=speaker)]) == 2
            await echo.Act(Word(text="status_error"), metadata=speaker).code()
            await echo.Say(Word(), metadata=(("application", "nobody"),)).code()
            await channel.unary_unary("/echo.Echo/Never")(b"").code()
            cancelled = echo.Say(Word(text="a"), metadata=slow)
            await journal.until("begun a")
            cancelled.cancel()
            await journal.until("cancelled a")
            stays = echo.Say(Word(text="b"), metadata=slow)
            await journal.until("begun b")
            waits = await the_one_that_waits(
                *(echo.Say(Word(text="c"), metadata=slow) for _ in range(2))
            )
            async with httpx.AsyncClient(base_url=running.instance.url, timeout=60) as http:
                page = (await http.get("/-/metrics")).text
            for call in (stays, waits):
                call.cancel()
    numbers = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    replies = {
        key[1]: value for key, value in numbers.items() if key[0].endswith("grpc_replies_total")
    }
    assert replies == {
        "OK": 4, "OUT_OF_RANGE": 1, "NOT_FOUND": 1, "UNIMPLEMENTED": 1, "CANCELLED": 1,
        "RESOURCE_EXHAUSTED": 1,
    }  # fmt: skip
    assert numbers["salver_grpc_requests_in_flight",] == 2
    assert numbers["salver_queued_calls", "slow", "Slow"] == 1
    (door,) = [key for key in numbers if key[0] == "salver_up" and key[1].startswith("grpc")]
    assert numbers[door] == 1


@pytest.mark.parametrize(
    ("path", "near"),
    [("/echo.Echo/Sayy", " Did you mean /echo.Echo/Say?"), ("/x/y", ""), ("/" + "z" * 4000, "")],
)
async def test_a_method_that_is_not_there_is_unimplemented_and_the_nearest_is_named(
    channel: grpc.aio.Channel, path: str, near: str
) -> None:
    for kind in (channel.unary_unary, channel.unary_stream):
        call = kind(path)(b"any", metadata=(("request_id", "mine"),))
        assert await call.code() is grpc.StatusCode.UNIMPLEMENTED
        assert await call.details() == f"There is no method {path[:200]}.{near}"
        assert dict(await call.trailing_metadata())["request_id"] == "mine"
    for kind in (channel.stream_unary, channel.stream_stream):
        assert await kind(path)().code() is grpc.StatusCode.UNIMPLEMENTED
