"""A closed loop of calls from inside a server: how many a second, and how long one takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

PAYLOAD = b"x" * 64


async def closed_loop(
    call: Callable[[bytes], Awaitable[bytes]], inflight: int, seconds: float
) -> dict[str, float]:
    """Keep `inflight` calls under way for `seconds`; every answer is compared with the question."""
    took: list[float] = []
    wrong = 0
    began = time.perf_counter()
    end = began + seconds

    async def caller() -> None:
        nonlocal wrong
        now = time.perf_counter()
        while now < end:
            wrong += await call(PAYLOAD) != PAYLOAD
            before, now = now, time.perf_counter()
            took.append(now - before)

    await asyncio.gather(*(caller() for _ in range(inflight)))
    wall = time.perf_counter() - began
    took.sort()
    return {
        "requests": len(took),
        "seconds": wall,
        "p50_ms": took[len(took) // 2] * 1e3,
        "p99_ms": took[int(len(took) * 0.99)] * 1e3,
        "errors": wrong,
    }
