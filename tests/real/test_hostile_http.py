"""Bad clients on the HTTP port of a running instance: refused, while good ones are served."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.real.rig import PATIENCE_S, Client, Running, apps

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
BOTH = b"content-length: 5\r\ntransfer-encoding: chunked\r\n"
# What it is, and which statuses may answer it. None of them is ever served.
REFUSED = [
    (b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc", {400}),
    (b"POST / HTTP/1.1\r\nhost: x\r\n" + BOTH + b"\r\n0\r\n\r\n", {400}),
    (b"GET / HTTP/1.1\nhost: x\n\n\r\n\r\n", {400}),
    (b"GET / HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n", {400}),
    (b"GET / HTTP/1.1\r\nhost : x\r\n\r\n", {400}),
    (b"GET / HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n", {400}),
    (b"GET / HTTP/1.1\r\n\r\n", {400}),
    (b"GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n", {400}),
    (b"GET / HTTP/9.9\r\nhost: x\r\n\r\n", {400, 505}),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n", {400}),
    (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 2000 + b"\r\n", {400, 431}),
    (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nhost: x\r\n\r\n", {400, 414, 431}),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", {400}),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: +1\r\n\r\na", {400}),
    (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999\r\n\r\n", {400, 413}),
    (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", {400}),
    (
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        {400},
    ),
    (
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        {400, 501},
    ),
]


@asynccontextmanager
async def good_clients(running: Running) -> AsyncIterator[None]:
    """Some that ask and are served from beginning to end."""
    over = asyncio.Event()

    async def ask(number: int) -> None:
        async with running.client() as client:
            turn = 0
            while not over.is_set() or turn < 20:
                turn += 1
                body = f"{number}.{turn}".encode() * (1 + turn % 7 * 100)
                reply = await client.get("/", body=body)
                assert (reply.status, reply.body) == (200, body)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(ask(number))
        try:
            yield
        finally:
            over.set()


async def say(port: int, data: bytes, splits: list[int]) -> bytes:
    """Send the pieces, then hear everything until the other side ends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with suppress(OSError):
            for start, end in zip([0, *splits], [*splits, len(data)], strict=True):
                writer.write(data[start:end])
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
        return await everything(reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def everything(reader: asyncio.StreamReader) -> bytes:
    """What is heard until the end, which may be a reset."""
    heard = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            heard += piece
    return heard


def statuses(heard: bytes) -> list[int]:
    return [int(found) for found in re.findall(rb"HTTP/1\.1 (\d\d\d) ", heard)]


async def test_malformed_requests_are_refused_at_any_split(running: Running) -> None:
    """4xx or 5xx, then the end: what follows on the connection is not served."""
    await running.deploy(apps.Quick.bind())
    dice = random.Random(1)
    async with good_clients(running):
        for bad, allowed in REFUSED:
            data = bad + GET
            splits = sorted(dice.sample(range(1, len(bad)), min(3, len(bad) - 1)))
            heard = await say(running.port, data, splits)
            assert len(statuses(heard)) == 1, (bad[:80], heard)
            assert set(statuses(heard)) <= allowed, (bad[:80], heard)


async def test_mutations_of_good_requests_never_disturb_others(running: Running) -> None:
    """Whatever is sent, every connection ends, and each answer is a whole one."""
    await running.deploy(apps.Quick.bind())
    dice = random.Random(2)
    good = [
        GET,
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\n\r\nhello world",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ]

    def mutated() -> bytes:
        data = bytearray(b"".join(dice.choices(good, k=dice.randint(1, 3))))
        for _ in range(dice.randint(1, 4)):
            place = dice.randrange(len(data))
            match dice.randrange(4):
                case 0:
                    data[place] = dice.randrange(256)
                case 1:
                    del data[place : place + dice.randint(1, 8)]
                case 2:
                    data[place:place] = dice.choice([b"\r\n", b"\0", b"\n", b" ", b":", b"\xff"])
                case _:
                    data[place:place] = bytes(data[: dice.randint(1, 40)])
        return bytes(data)

    async def one() -> None:
        data = mutated()
        count = min(dice.randint(0, 5), len(data) - 1)
        heard = await say(running.port, data, sorted(dice.sample(range(1, len(data)), count)))
        assert not heard or heard.startswith(b"HTTP/1.1 ")
        assert not set(statuses(heard)) & {500, 502, 504}, (data, heard)

    before = running.pids("ingress"), running.pids("Quick")
    async with good_clients(running), asyncio.timeout(PATIENCE_S):
        for _ in range(20):
            await asyncio.gather(*(one() for _ in range(20)))
    assert (running.pids("ingress"), running.pids("Quick")) == before
    assert "Traceback" not in running.log.text, running.log.text


async def test_slow_clients_are_told_that_their_time_is_over() -> None:
    """Heads and bodies that come by the byte: 408 and the end; the good are served meanwhile."""
    with Running.start(header_timeout_s=0.4, body_idle_timeout_s=0.4) as running:
        await running.deploy(apps.Quick.bind())

        async def drip(first: bytes, *, endless: bytes) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(first)

            async def go_on() -> None:
                with suppress(ConnectionError):
                    while endless:
                        await asyncio.sleep(0.05)
                        writer.write(endless)
                        await writer.drain()

            dripping = asyncio.create_task(go_on())
            try:
                return await everything(reader)
            finally:
                dripping.cancel()
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

        async with good_clients(running), asyncio.timeout(PATIENCE_S):
            heard = await asyncio.gather(
                *(drip(b"GET / HTTP/1.1\r\nx: ", endless=b"a") for _ in range(20)),
                *(
                    drip(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc", endless=b"")
                    for _ in range(20)
                ),
            )
        assert [statuses(one) for one in heard] == [[408]] * 40


async def test_too_many_connections_are_told_so() -> None:
    with Running.start(max_connections=3) as running:
        await running.deploy(apps.Quick.bind())
        clients = [Client(running.port) for _ in range(3)]
        for client in clients:
            assert (await client.get()).status == 200
        async with running.client() as fourth:
            await fourth.connect()
            assert (await fourth.reply()).status == 503
        await clients.pop().close()
        async with asyncio.timeout(PATIENCE_S), running.client() as fifth:
            while not await served(fifth):  # the door has yet to hear of the end
                await fifth.close()
        for client in clients:
            await client.close()


async def served(client: Client) -> bool:
    """Whether it is let in: who is not may be gone before it has asked."""
    try:
        return (await client.get()).status == 200
    except (ConnectionError, asyncio.IncompleteReadError):
        return False


@pytest.mark.parametrize("path", ["/-/healthz", "/-/routes", "/nowhere/at/all"])
async def test_the_door_answers_for_itself(running: Running, path: str) -> None:
    await running.deploy(apps.Quick.bind(), route="/here")
    async with running.client() as client:
        assert (await client.get(path)).status == (404 if "nowhere" in path else 200)
