"""How a 10 MB tensor travels between a client and a model on one machine, against one memcpy.

    python bench/local_client.py [--megabytes 10] [--calls 200]

Prints medians: a copy of the tensor in this process, then a call that returns what it was given, by
shared memory and by HTTP. "Both ways" is to be at most 1.5 copies there and 1.5 copies back.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import cycle
from typing import Annotated

import numpy as np

import salver
from salver.api import session
from salver.client import Client

Held = Annotated[np.ndarray, salver.Field("FP32", (-1,), writable=False)]


@salver.deployment
class Echo:
    @salver.endpoint
    async def echo(self, x: Held) -> Held:
        return x


def median(work: Callable[[], object], calls: int) -> float:
    for _ in range(10):
        work()
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--calls", type=int, default=200)
    options = parser.parse_args()
    array = np.random.default_rng(0).random(int(options.megabytes * 250_000), dtype=np.float32)
    # Tensors of a program are not in the cache, as one that is copied again and again may be.
    sources = cycle([array.copy() for _ in range(8)])
    targets = cycle([array.copy() for _ in range(8)])
    copy = median(lambda: np.copyto(next(targets), next(sources)), options.calls)
    print(f"memcpy          {copy:8.3f} ms")
    salver.start(http_options={"port": 0})
    try:
        salver.run(Echo.bind())
        for name, local in (("shared memory", True), ("HTTP", False)):
            with Client(session._instance.url, local=local) as client:
                model = client.model("Echo")
                took = median(lambda model=model: model(next(sources)), options.calls)
            print(f"{name:15} {took:8.3f} ms = {took / copy / 2:.2f} x memcpy each way")
    finally:
        salver.shutdown()


if __name__ == "__main__":
    main()
