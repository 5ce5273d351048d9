"""What grpc opens once in a process and keeps: opened before anybody looks for leaks."""

from __future__ import annotations

import asyncio

import grpc
import pytest


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
