"""Open-loop load: requests leave at a given rate, whatever the server does.

usage: python -m bench.openloop URL --rate 2000 --connections 64 --seconds 3

Request n has an intended time (start + n / rate) and its latency counts from then. When all
connections are busy the request waits its turn and that waiting is counted too; requests that are
never answered count with their age at the end. So a server that stalls cannot hide the requests
that it kept from being sent (the fault known as coordinated omission). `late_p99_ms` is how late
the generator itself was when a connection stood ready: figures below that mean nothing.
Prints one line of JSON. Needs uvloop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import uvloop

from bench.client import Connection, Target, connect, target_of
from bench.harness.stats import percentile

DRAIN_S = 5.0
TICK_S = 0.0001  # above 10,000 a second, several leave at one tick


class Ticker:
    """A file descriptor that becomes readable at fixed times: event loops' timers count in ms."""

    CLOCK_MONOTONIC, NONBLOCK = 1, 0o4000

    def __init__(self, period_s: float) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = int(libc.timerfd_create(self.CLOCK_MONOTONIC, self.NONBLOCK))
        nanoseconds = math.ceil(period_s * 1e9)
        period = (nanoseconds // 10**9, nanoseconds % 10**9)
        setting = (ctypes.c_long * 4)(*period, *period)
        if self.fd < 0 or libc.timerfd_settime(self.fd, 0, setting, None):
            raise OSError(ctypes.get_errno(), "timerfd")

    def clear(self) -> None:
        """Take note of the ticks."""
        os.read(self.fd, 8)

    def close(self) -> None:
        """Stop ticking."""
        os.close(self.fd)


class OpenLoop:
    """The generator: what is due, what waits, what came back."""

    def __init__(self, target: Target, rate: float, connections: int) -> None:
        self._target, self._rate, self._wanted = target, rate, connections
        self._idle: deque[Connection] = deque()
        self._all: list[Connection] = []
        self._backlog: deque[float] = deque()
        self._took: list[float] = []
        self._late: list[float] = []
        self._errors = 0
        self._sent = 0
        self._total = sys.maxsize  # known once all have been sent
        self._over = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> dict[str, float]:
        """Send for this long, wait for the answers, give the figures."""
        for _ in range(self._wanted):
            await self._open()
        total = int(self._rate * seconds)
        began = time.perf_counter()
        await self._send_all(began, total)
        sent_s = time.perf_counter() - began
        answered = await self._drain(total)
        wall = time.perf_counter() - began
        now = time.perf_counter()
        unanswered = [now - at for at in self._backlog]
        unanswered += [now - c.intended_at for c in self._all if c.usable and c not in self._idle]
        for connection in self._all:
            connection.close()
        return self._figures(answered, unanswered, sent_s, wall)

    async def _open(self) -> None:
        made = await connect(self._target, self._done)
        self._all.append(made)
        self._free(made)

    async def _send_all(self, began: float, total: int) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        ticker = Ticker(max(TICK_S, 1 / self._rate))

        def tick() -> None:
            ticker.clear()
            due = min(total, int((time.perf_counter() - began) * self._rate))
            for n in range(self._sent, due):
                self._submit(began + (n + 1) / self._rate)
            self._sent = due
            if due >= total:
                over.set()

        loop.add_reader(ticker.fd, tick)
        try:
            await over.wait()
        finally:
            loop.remove_reader(ticker.fd)
            ticker.close()

    async def _drain(self, total: int) -> int:
        self._total = total
        self._check_over()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), DRAIN_S)
        return len(self._took)

    def _check_over(self) -> None:
        if len(self._took) + self._errors >= self._total:
            self._over.set()

    def _submit(self, intended: float) -> None:
        if not self._idle:
            self._backlog.append(intended)
            return
        self._late.append(time.perf_counter() - intended)
        self._idle.popleft().send(intended)

    def _done(self, connection: Connection, ok: bool) -> None:
        if ok:
            self._took.append(time.perf_counter() - connection.intended_at)
        else:
            self._errors += 1
        self._check_over()
        if connection.usable:
            self._free(connection)
        else:
            task = asyncio.get_running_loop().create_task(self._open())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def _free(self, connection: Connection) -> None:
        if self._backlog:
            connection.send(self._backlog.popleft())
        else:
            self._idle.append(connection)

    def _figures(
        self, answered: int, unanswered: Sequence[float], sent_s: float, wall: float
    ) -> dict[str, float]:
        took, late = sorted([*self._took, *unanswered]), sorted(self._late)
        return {
            "requests": answered,
            "seconds": max(sent_s, wall - DRAIN_S if unanswered else wall),
            "p50_ms": percentile(took, 0.50) * 1e3,
            "p90_ms": percentile(took, 0.90) * 1e3,
            "p99_ms": percentile(took, 0.99) * 1e3,
            "max_ms": took[-1] * 1e3 if took else float("nan"),
            "late_p99_ms": percentile(late, 0.99) * 1e3,
            "errors": self._errors + len(unanswered),
        }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Open-loop HTTP load; one line of JSON.")
    parser.add_argument("url")
    parser.add_argument("--rate", type=float, required=True, help="requests a second")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--body", type=Path, help="file to POST")
    parser.add_argument("--type", default="application/json", help="content type of the body")
    args = parser.parse_args()
    body = args.body.read_bytes() if args.body else b""
    generator = OpenLoop(target_of(args.url, body, args.type), args.rate, args.connections)
    print("FIGURES", json.dumps(uvloop.run(generator.run(args.seconds))))


if __name__ == "__main__":
    main()
