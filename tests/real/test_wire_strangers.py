"""Strangers on the sockets of an instance: shown out, told of once, nobody else disturbed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from salver.wire import frames
from salver.wire.frames import HEADER, HEADER_SIZE
from salver.wire.messages import Hello
from tests.real.rig import PATIENCE_S, Running, apps


def frame(kind: int, payload: bytes = b"", *, length: int | None = None, call: int = 0) -> bytes:
    size = HEADER_SIZE + len(payload) if length is None else length
    return HEADER.pack(size, kind, 0, 0, call) + payload


def hello(secret: bytes, **fields: int) -> bytes:
    named = Hello(secret, "client", "stranger", os.getpid(), **fields)
    return frame(frames.HELLO, msgspec.msgpack.encode(named))


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "wrong secret": hello(b"x" * 32),
    "no secret": hello(b""),
    "a request before hello": frame(frames.REQ, b"abc", call=1),
    "a hello that cannot be read": frame(frames.HELLO, b"\xc1" * 40),
    "a huge frame": frame(frames.HELLO, length=2**32 - 1),
    "a frame shorter than its header": frame(frames.HELLO, length=3),
}


@pytest_asyncio.fixture
async def served(running: Running) -> AsyncIterator[Running]:
    await running.deploy(apps.Quick.bind())
    yield running


def sockets(running: Running) -> dict[str, str]:
    (replica,) = Path(running.address).glob("r-*.sock")
    return {"control": f"{running.address}/control.sock", "replica": str(replica)}


async def shown_out(path: str, data: bytes, *, eof: bool = False) -> bytes:
    """What is heard until the other side closes."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(PATIENCE_S):
            with suppress(ConnectionError):
                writer.write(data)
                await writer.drain()
                if eof:
                    writer.write_eof()
                return await reader.read()
            return b""
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_strangers_are_shown_out_and_nobody_else_notices(served: Running) -> None:
    """Each is logged once, by the process whose socket it was; nothing is said to him."""
    before = {name: served.pids(name) for name in ("controller", "ingress", "Quick")}
    handle = served.handle("Quick")
    async with served.client() as client:
        for path in sockets(served).values():
            for data in GARBAGE.values():
                assert await shown_out(path, data) == b""
                assert (await client.get()).text == "quick"
                assert await handle.pid.remote() == before["Quick"][0]
    status = await served.status()
    assert status.applications["app"].status == "RUNNING"
    assert {name: served.pids(name) for name in before} == before
    await served.log.until("Connection with a stranger closed", 2 * len(GARBAGE))
    assert served.log.text.count("Connection with a stranger closed") == 2 * len(GARBAGE)


@pytest.mark.parametrize("place", ["control", "replica"])
async def test_a_friend_who_goes_mad_is_shown_out_alone(served: Running, place: str) -> None:
    """With the right secret: unknown frames, truncated ones, ones for the other side."""
    path = sockets(served)[place]
    greeting = hello(served.secret)
    ends = [
        frame(99),
        frame(frames.REQ, bytes(10), length=100, call=1),
        frame(frames.RES, b"abc", call=7),
        greeting,
    ]
    async with served.client() as client:
        for data in ends:
            heard = await shown_out(path, greeting + data, eof=True)
            assert served.secret not in heard
            assert (await client.get()).text == "quick"
    await served.log.until("Connection with client stranger closed", len(ends))
    assert (await served.status()).applications["app"].status == "RUNNING"


def test_nobody_else_can_look_into_the_instance(running: Running) -> None:
    directory = Path(running.address)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "secret").stat().st_mode & 0o777 == 0o600


async def test_who_never_says_hello_costs_only_himself(served: Running) -> None:
    """Many silent connections: others are served meanwhile; they end with whoever made them."""
    quiet = [
        await asyncio.open_unix_connection(path)
        for path in sockets(served).values()
        for _ in range(50)
    ]
    async with served.client() as client:
        assert (await client.get()).text == "quick"
        assert (await served.status()).applications["app"].status == "RUNNING"
    for _, writer in quiet:
        writer.close()
        await writer.wait_closed()
