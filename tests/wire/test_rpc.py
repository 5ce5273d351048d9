"""Control links: calls both ways, errors with their type, order, and an end all notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from salver.errors import CapacityError, WireError
from salver.wire import frames
from salver.wire.rpc import Method, Rpc
from salver.wire.streams import Dialler, MemoryHub

from .peers import SECRET, hello

Connect = Callable[..., Any]


class Point(msgspec.Struct):
    x: int
    y: list[int] = []


@pytest.fixture
async def connect(address: str) -> AsyncIterator[Connect]:
    dialler, ended = Dialler(MemoryHub()), []
    listeners, links = [], []

    async def connect(
        far: dict[str, Method], near: dict[str, Method] | None = None
    ) -> tuple[Rpc, Rpc]:
        accepted: asyncio.Future[Rpc] = asyncio.get_running_loop().create_future()

        def make(methods: dict[str, Method], on_open: Any = None) -> Rpc:
            done = asyncio.Event()
            ended.append(done)
            rpc = Rpc(methods, on_open=on_open, on_close=lambda *_: done.set())
            links.append(rpc)
            return rpc

        listeners.append(
            await dialler.listen(
                address, lambda: make(far, accepted.set_result), hello("controller"), SECRET
            )
        )
        rpc = make(near or {})
        await dialler.dial(address, rpc, hello("client"), SECRET)
        return rpc, await accepted

    yield connect
    for rpc in links:
        rpc.close()
    for done in ended:
        await done.wait()
    for listener in listeners:
        listener.close()
    dialler.close()


async def echo(body: Any) -> Any:
    return body


async def test_calls_go_both_ways_with_types(connect: Connect) -> None:
    near, far = await connect({"echo": echo}, {"double": lambda body: body * 2})
    assert await near.call("echo", Point(1, [2])) == {"x": 1, "y": [2]}
    assert await near.call("echo", {"x": 1, "y": [2]}, type=Point) == Point(1, [2])
    assert await near.call("echo") is None
    assert await near.call("echo", b"x" * 1_000_000) == b"x" * 1_000_000
    assert await far.call("double", 21) == 42


async def test_errors_arrive_with_their_type(connect: Connect) -> None:
    async def full(_: Any) -> None:
        raise CapacityError("4 CPUs wanted, 2 are there")

    def wrong(_: Any) -> None:
        raise KeyError("k")

    near, _ = await connect({"full": full, "wrong": wrong})
    with pytest.raises(CapacityError, match=r"^4 CPUs wanted, 2 are there"):
        await near.call("full")
    with pytest.raises(KeyError):
        await near.call("wrong")
    with pytest.raises(WireError, match="No method 'none' here; there are: full, wrong"):
        await near.call("none")


async def test_what_a_method_returns_must_be_encodable(connect: Connect) -> None:
    near, _ = await connect({"odd": lambda _: object(), "echo": echo})
    with pytest.raises(TypeError):
        await near.call("odd")
    assert await near.call("echo", 1) == 1


async def test_notices_keep_their_order_with_answers(connect: Connect) -> None:
    seen: list[Any] = []
    near, far = await connect({"big": lambda _: far_notifies()}, {"note": seen.append})

    def far_notifies() -> bytes:
        far.notify("note", b"x" * 700_000)
        for n in range(3):
            far.notify("note", n)
        return b""

    await near.call("big")
    assert seen[1:] == [0, 1, 2]
    assert len(seen[0]) == 700_000


async def test_a_failing_notice_is_logged(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    near, _ = await connect({"bad": lambda _: 1 / 0, "echo": echo})
    near.notify("bad")
    await near.call("echo")
    assert "Notice 'bad'" in caplog.text


async def test_the_end_of_the_link_fails_who_waits_and_cancels_what_runs(connect: Connect) -> None:
    cancelled = asyncio.Event()
    running = asyncio.Event()

    async def forever(_: Any) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    near, far = await connect({"forever": forever})
    waiting = asyncio.ensure_future(near.call("forever"))
    await running.wait()
    far.close()
    with pytest.raises(WireError, match="The control link with controller controller-1 closed"):
        await waiting
    await cancelled.wait()
    assert not near.is_open
    with pytest.raises(WireError, match="Cannot call 'forever'"):
        await near.call("forever")
    near.notify("forever")


async def test_another_frame_on_a_control_link_closes_it(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = await connect({"echo": echo})
    near.conn.send(frames.REQ, 0, 0, 1, b"")
    with pytest.raises(WireError):
        await near.call("echo")
    assert "expected RPC" in caplog.text
    assert not far.is_open
