"""How a 10 MB tensor travels between a client and a model on one machine, against one memcpy.

usage: python -m bench.local_client URL [--http] [--megabytes 10] [--seconds 3]

In turns: a copy of the tensor in this process, and a call of the model `m`, which gives back what
it is given: by shared memory, or with --http by HTTP. Prints one line of JSON; `copies` is how
many copies one way of the call takes, of which there are two.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from bench.harness.stats import percentile
from salver.client import Client

WARM_UP = 10


def timed(work: Callable[[], Any]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3


def measure(model: Callable[[Any], Any], megabytes: float, seconds: float) -> dict[str, float]:
    """Medians, after a few calls that do not count."""
    array = np.random.default_rng(0).random((1, int(megabytes * 250_000)), np.float32)
    # Tensors of a program are not in the cache, as one that is copied again and again may be.
    sources = cycle([array.copy() for _ in range(8)])
    targets = cycle([array.copy() for _ in range(8)])
    copies: list[float] = []
    calls: list[float] = []
    end = time.perf_counter() + seconds
    while len(calls) < WARM_UP + 1 or time.perf_counter() < end:
        copies.append(timed(lambda: np.copyto(next(targets), next(sources))))
        calls.append(timed(lambda: model(next(sources))))
    assert np.array_equal(model(array), array)
    copies, calls = sorted(copies[WARM_UP:]), sorted(calls[WARM_UP:])
    copy, call = percentile(copies, 0.5), percentile(calls, 0.5)
    return {
        "requests": len(calls),
        "seconds": seconds,
        "copy_ms": copy,
        "p50_ms": call,
        "p99_ms": percentile(calls, 0.99),
        "copies": call / copy / 2,
        "errors": 0,
    }


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Large tensors by Salver's client; JSON.")
    parser.add_argument("url")
    parser.add_argument("--http", action="store_true", help="not by shared memory")
    parser.add_argument("--megabytes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=3.0)
    args = parser.parse_args()
    with Client(args.url, local=not args.http) as client:
        figures = measure(client.model("m"), args.megabytes, args.seconds)
    print("FIGURES", json.dumps(figures))


if __name__ == "__main__":
    main()
