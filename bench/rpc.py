"""Clients of a gRPC method, each with one call after another under way: how many, how fast?

usage: python -m bench.rpc ADDRESS --talk hello --clients 32 --channels 4 --seconds 3

Prints one line of JSON. grpc's own asyncio client; messages are bytes that are encoded once, and
every answer is compared with the right one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.harness.stats import percentile
from bench.pictures import RAW, infer_request

_APART = 20_000


@dataclass(frozen=True)
class Talk:
    """What is asked, and how the right answer ends."""

    path: str
    question: bytes
    answer: bytes


TALKS: dict[str, Callable[[], Talk]] = {
    # google.protobuf.StringValue, both ways
    "hello": lambda: Talk("/bench.Hello/Hello", b"\n\x05world", b"\n\x0cHello world!"),
    "picture": lambda: Talk("/inference.GRPCInferenceService/ModelInfer", infer_request(), RAW),
}


def rpc_port(port: int) -> int:
    """Where a server answers gRPC that answers HTTP at this port."""
    return port - _APART if port > _APART + 1024 else port + _APART


async def run(args: argparse.Namespace) -> dict[str, float]:
    """Call for this long."""
    import grpc

    talk = TALKS[args.talk]()
    options = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each channel
    channels = [
        grpc.aio.insecure_channel(args.address, options=options) for _ in range(args.channels)
    ]
    methods = [channel.unary_unary(talk.path) for channel in channels]
    await asyncio.gather(*(method(talk.question, wait_for_ready=True) for method in methods))
    took: list[float] = []
    errors = 0
    began = time.perf_counter()
    end = began + args.seconds

    async def client(method: Any) -> None:
        nonlocal errors
        now = time.perf_counter()
        while now < end:
            try:
                errors += not (await method(talk.question)).endswith(talk.answer)
            except grpc.aio.AioRpcError:
                errors += 1
            before, now = now, time.perf_counter()
            took.append(now - before)

    await asyncio.gather(*(client(methods[n % args.channels]) for n in range(args.clients)))
    wall = time.perf_counter() - began
    await asyncio.gather(*(channel.close() for channel in channels))
    took.sort()
    return {
        "requests": len(took),
        "seconds": wall,
        "p50_ms": percentile(took, 0.50) * 1e3,
        "p99_ms": percentile(took, 0.99) * 1e3,
        "errors": errors,
    }


def main() -> None:
    """Parse, run, print."""
    import uvloop

    parser = argparse.ArgumentParser(description="Closed-loop callers of a gRPC method; JSON.")
    parser.add_argument("address")
    parser.add_argument("--talk", choices=TALKS, default="hello")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=3.0)
    print("FIGURES", json.dumps(uvloop.run(run(parser.parse_args()))))


if __name__ == "__main__":
    main()
