"""The bare grpc.aio server, and beside it an HTTP answer that says that it is there.

usage: python -m bench.apps.rpc_bare PORT; gRPC at `bench.rpc.rpc_port(PORT)`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc
import uvloop

from bench.apps.rpc_service import Greeter, add_hello_to_server
from bench.rpc import rpc_port

ANSWER = b'{"result": "Hello world!"}'


class Servicer(Greeter):
    """The same method, with grpc's own parameters."""

    async def Hello(self, request: Any, context: Any) -> Any:  # type: ignore[override]
        return await super().Hello(request)


async def _http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
    writer.write(b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER)
    writer.close()


async def _serve(port: int) -> None:
    server = grpc.aio.server()
    add_hello_to_server(Servicer(), server)
    server.add_insecure_port(f"127.0.0.1:{rpc_port(port)}")
    await server.start()
    await asyncio.start_server(_http, "127.0.0.1", port)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
