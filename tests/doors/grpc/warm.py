"""What grpc opens once in a process and keeps: opened before anybody looks for leaks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from salver.testing.leaks import no_leaks


async def warm_up() -> None:
    """What grpc opens for its first calls, and the thread of its asyncio part, stay to the end."""
    grpc.aio.init_grpc_aio()
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as blocking, pytest.raises(grpc.RpcError):
        await asyncio.to_thread(blocking.unary_unary("/a/b"), b"")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary("/a/b")(b"")
    await server.stop(None)


def warm() -> None:
    """The same, where no loop runs."""
    asyncio.run(warm_up())


@contextmanager
def nothing_but_grpcs() -> Iterator[None]:
    """Fail as `no_leaks` does, but not for a poller that grpc has opened anew and keeps."""
    try:
        with no_leaks():
            yield
    except AssertionError as error:
        left = str(error).removeprefix("left behind: ").split("; ")
        if not all(what.endswith(("[eventpoll]", "[eventfd]")) for what in left):
            raise
