"""Clients of a streamed answer, each taking one after another: when does the first byte come?

usage: python -m bench.streams URL --clients 32 --seconds 3 --chunks 100

Prints one line of JSON: chunks a second, time to the first body byte and to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import uvloop

from bench.client import Connection, Target, connect, target_of
from bench.harness.stats import percentile

EVENT = b"data: "
PATIENCE_S = 10.0


class Streams:
    """The clients and what they saw."""

    def __init__(self, target: Target, chunks: int) -> None:
        self._target, self._chunks = target, chunks
        self._first: list[float] = []
        self._total: list[float] = []
        self._errors = 0
        self._end = 0.0
        self._active = 0
        self._over = asyncio.Event()

    async def run(self, clients: int, seconds: float) -> dict[str, float]:
        """Read streams for this long."""
        connections = [await connect(self._target, self._done) for _ in range(clients)]
        began = time.perf_counter()
        self._end = began + seconds
        self._active = clients
        for connection in connections:
            connection.send(time.perf_counter())
        try:
            await asyncio.wait_for(self._over.wait(), seconds + PATIENCE_S)
        except TimeoutError:
            self._errors += self._active
        wall = time.perf_counter() - began
        for connection in connections:
            connection.close()
        first, total = sorted(self._first), sorted(self._total)
        return {
            "requests": len(total),
            "seconds": wall,
            "p50_ms": percentile(total, 0.50) * 1e3,
            "p99_ms": percentile(total, 0.99) * 1e3,
            "first_p50_ms": percentile(first, 0.50) * 1e3,
            "first_p99_ms": percentile(first, 0.99) * 1e3,
            "chunks_rate": len(total) * self._chunks / wall,
            "errors": self._errors,
        }

    def _done(self, connection: Connection, ok: bool) -> None:
        now = time.perf_counter()
        if ok and connection.body.count(EVENT) == self._chunks:
            self._first.append(connection.first_at - connection.intended_at)
            self._total.append(now - connection.intended_at)
        else:
            self._errors += 1
        if now < self._end and connection.usable:
            connection.send(now)
            return
        self._active -= 1
        if not self._active:
            self._over.set()


async def _run(args: argparse.Namespace) -> dict[str, float]:
    return await Streams(target_of(args.url), args.chunks).run(args.clients, args.seconds)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Closed-loop readers of streams; JSON.")
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--chunks", type=int, default=100)
    print("FIGURES", json.dumps(uvloop.run(_run(parser.parse_args()))))


if __name__ == "__main__":
    main()
