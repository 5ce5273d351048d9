"""The deployments of Salver and of Ray Serve: the very same classes, bound by either."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse

from bench.apps.closed_loop import closed_loop

CHUNKS = 100
EVENT = "data: token 0123456789\n\n"


class Hello:
    """The quickstart's answer."""

    async def __call__(self, request: Request) -> dict[str, str]:
        return {"result": "Hello world!"}


class HelloSync:
    """The same from a plain function, which runs in a thread pool."""

    def __call__(self, request: Request) -> dict[str, str]:
        return {"result": "Hello world!"}


class Adder:
    """One of two that are called side by side."""

    def __init__(self, increment: int) -> None:
        self.increment = increment

    async def add(self, value: int) -> int:
        return value + self.increment


class Combiner:
    """Joins the results of the two."""

    async def average(self, *values: int) -> float:
        return sum(values) / len(values)


class Compose:
    """Calls two adders at once and gives both results, un-awaited, to a combiner."""

    def __init__(self, first: Any, second: Any, combiner: Any) -> None:
        self.first, self.second, self.combiner = first, second, combiner

    async def __call__(self, request: Request) -> dict[str, float]:
        one, two = self.first.add.remote(100), self.second.add.remote(100)
        return {"result": await self.combiner.average.remote(one, two)}


class Echo:
    """What the handle case calls."""

    async def echo(self, data: bytes) -> bytes:
        return data


class HandleLoop:
    """Calls another deployment in a closed loop; the answer is the figures."""

    def __init__(self, echo: Any) -> None:
        self.echo = echo

    async def __call__(self, request: Request) -> dict[str, float]:
        inflight = int(request.query_params.get("inflight", "1"))
        seconds = float(request.query_params.get("seconds", "0.05"))
        return await closed_loop(self.echo.echo.remote, inflight, seconds)


class Events:
    """A stream of small server-sent events."""

    async def events(self) -> AsyncIterator[str]:
        for _ in range(CHUNKS):
            yield EVENT

    async def __call__(self, request: Request) -> StreamingResponse:
        return StreamingResponse(self.events(), media_type="text/event-stream")


class Upload:
    """Reads a body and says how long it is."""

    async def __call__(self, request: Request) -> dict[str, int]:
        return {"length": len(await request.body())}


class UploadBuffer:
    """The same, where the body lies: in shared memory, without the copy that `bytes` needs."""

    async def __call__(self, request: Any) -> dict[str, int]:
        return {"length": len(await request.buffer())}


class Blocked:
    """Holds its event loop for 10 ms, as a model does that nobody moved to a thread."""

    async def __call__(self, request: Request) -> dict[str, str]:
        time.sleep(0.010)  # noqa: ASYNC251 - blocking is the point
        return {"result": "Hello world!"}


class Named:
    """Takes a while, and says which process it was."""

    async def __call__(self, request: Request) -> dict[str, int]:
        await asyncio.sleep(0.050)
        return {"pid": os.getpid()}


# One to four replicas, by app: what else `autoscaling_config` says, the same for both frameworks.
_BOUNDS = {"min_replicas": 1, "max_replicas": 4, "target_ongoing_requests": 2}
_QUICK = {"upscale_delay_s": 0, "look_back_period_s": 0.2, "metrics_interval_s": 0.1}
SCALING: dict[str, dict[str, Any]] = {
    "scale": _BOUNDS | _QUICK,
    "scale_second": _BOUNDS | {"upscale_delay_s": 1},
    "scale_default": _BOUNDS,
}


def batches(batch: Any, at_once: int) -> type:
    """A class whose handler works on 32 requests in 10 ms, by the framework's own decorator."""

    class Batches:
        @batch(max_batch_size=32, max_concurrent_batches=at_once)
        async def work(self, results: list[dict[str, str]]) -> list[dict[str, str]]:
            await asyncio.sleep(0.010)
            return results

        async def __call__(self, request: Request) -> dict[str, str]:
            return await self.work({"result": "Hello world!"})

    return Batches


class BatchLoop:
    """What batches of 10 ms allow that follow each other at once; the answer is the figures."""

    async def __call__(self, request: Request) -> dict[str, float]:
        size = int(request.query_params.get("inflight", "1"))
        seconds = float(request.query_params.get("seconds", "0.05"))
        requests, began = 0, time.perf_counter()
        while (wall := time.perf_counter() - began) < seconds:
            await asyncio.sleep(0.010)
            requests += size
        return {"requests": requests, "seconds": wall, "errors": 0}
