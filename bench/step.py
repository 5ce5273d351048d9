"""A step of load on a deployment that autoscales: when do the further replicas answer?

usage: python -m bench.step URL --clients 16 --replicas 4

So many clients, all of a sudden, each asking one thing after another; every answer names the
process that gave it. Prints one line of JSON: time to the first answer of a second replica, and to
the first answer of the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time

import uvloop

from bench.client import Connection, Target, connect, target_of

PID = re.compile(rb'"pid": ?(\d+)')


class Step:
    """The clients, and when they saw a process for the first time."""

    def __init__(self, target: Target, replicas: int) -> None:
        self._target, self._replicas = target, replicas
        self._seen: dict[bytes, float] = {}
        self._requests = self._errors = 0
        self._complete = asyncio.Event()

    async def run(self, clients: int, patience_s: float) -> dict[str, float]:
        """Ask until all replicas have answered."""
        connections = [await connect(self._target, self._done) for _ in range(clients)]
        began = time.perf_counter()
        for connection in connections:
            connection.send(began)
        try:
            await asyncio.wait_for(self._complete.wait(), patience_s)
        except TimeoutError:
            came = f"{len(self._seen)} of {self._replicas} replicas"
            sys.exit(f"{came} answered within {patience_s:g} s; {self._errors} errors")
        wall = time.perf_counter() - began
        for connection in connections:
            connection.close()
        risen = [at - began for at in sorted(self._seen.values())]
        return {
            "requests": self._requests,
            "seconds": wall,
            "second_ms": risen[1] * 1e3,
            "capacity_ms": risen[-1] * 1e3,
            "errors": self._errors,
        }

    def _done(self, connection: Connection, ok: bool) -> None:
        now = time.perf_counter()
        found = PID.search(connection.body)
        if ok and found:
            self._requests += 1
            self._seen.setdefault(found.group(1), now)
        else:
            self._errors += 1
        if len(self._seen) >= self._replicas:
            self._complete.set()
        elif connection.usable:
            connection.send(now)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Load all of a sudden; JSON.")
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--patience", type=float, default=90.0, help="Seconds.")
    args = parser.parse_args()
    step = Step(target_of(args.url), args.replicas)
    print("FIGURES", json.dumps(uvloop.run(step.run(args.clients, args.patience))))


if __name__ == "__main__":
    main()
