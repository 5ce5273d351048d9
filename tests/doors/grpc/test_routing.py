"""To which replica a call goes: by its model, by its session, and anew when its deployment goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from echo_pb2 import Word
from echo_pb2_grpc import EchoStub

from tests.doors.grpc.queueing import the_one_that_waits
from tests.real.rig import Journal, Running

HELD = (("application", "held"),)


@pytest.mark.parametrize("kind", ["ByModel", "BySession"])
async def test_calls_of_one_model_or_session_go_to_one_replica(
    running: Running, apps: Any, channel: grpc.aio.Channel, kind: str
) -> None:
    await running.deploy(getattr(apps, kind).bind(), "held", None)
    metadata = "multiplexed_model_id" if kind == "ByModel" else "session_id"
    homes: set[str] = set()
    settled = 0
    for key in "abcdefghijklmnop":  # all of them on one replica: once in 30,000 runs
        call = (*HELD, (metadata, key))
        answers = [(await EchoStub(channel).Say(Word(), metadata=call)).text for _ in range(10)]
        homes |= set(answers)
        settled += len(set(answers)) == 1
    assert len(homes) == 2
    # A replica that is held up for some ms, as on a busy machine, has a stand-in. Without a rule
    # they would take turns.
    assert settled >= 8


async def test_a_router_of_the_user_s_is_told_of_the_call(
    running: Running, apps: Any, channel: grpc.aio.Channel
) -> None:
    await running.deploy(apps.Routed.bind(), "held", None)
    metadata = (*HELD, ("session_id", "s"), ("multiplexed_model_id", "m"), ("request_id", "r"))
    await EchoStub(channel).Say(Word(), metadata=metadata)
    await running.log.until("chosen for: Say r m s False")


async def test_a_router_of_the_user_s_reads_the_message(
    running: Running, apps: Any, channel: grpc.aio.Channel
) -> None:
    await running.deploy(apps.Chosen.bind(), "held", None)
    echo = EchoStub(channel)
    for rank in (0, 2, 1, 2):
        said = await echo.Say(Word(text="a", times=rank), metadata=HELD, timeout=60)
        assert (said.times, said.text) == (rank, "a")
        streamed = echo.Repeat(Word(times=rank), metadata=HELD, timeout=60)
        assert [word.times async for word in streamed] == [rank]
    gathered = await echo.Gather(one_word(), metadata=HELD, timeout=60)  # nothing has come yet
    assert (gathered.times, gathered.text) == (0, "a")


async def one_word() -> AsyncIterator[Word]:
    yield Word(text="a")


@pytest.mark.parametrize("kind", ["Say", "Repeat", "Gather", "Chat"])
async def test_a_call_that_has_not_begun_when_its_deployment_goes_is_routed_anew(
    running: Running, apps: Any, channel: grpc.aio.Channel, journal: Journal, kind: str
) -> None:
    """As after an update that makes another deployment the app's ingress."""
    await running.deploy(apps.Slow.bind(journal.path), "held", None)
    echo = EchoStub(channel)
    first = echo.Say(Word(text="first"), metadata=HELD)
    await journal.until("begun first")

    def call() -> Any:
        asked = Word(text="a", times=1) if kind in ("Say", "Repeat") else one_word()
        return getattr(echo, kind)(asked, metadata=HELD)

    waits = await the_one_that_waits(call(), call())
    await running.deploy(apps.Speaker.bind(), "held", None)
    if kind in ("Say", "Gather"):
        assert (await waits).text == {"Say": "a!", "Gather": "a"}[kind]
    else:
        assert [word.text async for word in waits] == [{"Repeat": "a", "Chat": "A"}[kind]]
    first.cancel()
    await journal.until("cancelled first")


async def test_a_call_that_has_not_begun_when_its_app_goes_is_told(
    running: Running, apps: Any, channel: grpc.aio.Channel, journal: Journal
) -> None:
    await running.deploy(apps.Slow.bind(journal.path), "going", None)
    going = (("application", "going"),)
    first = EchoStub(channel).Say(Word(text="first"), metadata=going)
    await journal.until("begun first")
    waits = await the_one_that_waits(
        *(EchoStub(channel).Say(Word(), metadata=going) for _ in range(2))
    )
    async with running.control() as control:
        deleting = asyncio.create_task(control.delete("going"))
        assert await waits.code() is grpc.StatusCode.UNAVAILABLE
        assert "deleted" in await waits.details()
        first.cancel()
        await deleting
    late = EchoStub(channel).Say(Word(), metadata=going)
    assert await late.code() is grpc.StatusCode.NOT_FOUND
