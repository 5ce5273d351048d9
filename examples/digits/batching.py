"""Step 4, batches: `salver run digits.batching:build weights=digits.pt`.

What arrives while the network is busy goes through it together, next time.
"""

from __future__ import annotations

import asyncio

import salver
from digits import Args
from digits.network import Reader


@salver.deployment(max_ongoing_requests=64)
class Digits:
    def __init__(self, weights: str) -> None:
        self.reader = Reader(weights)

    async def __call__(self, request):
        digit, together = await self.read((await request.json())["pixels"])
        return {"digit": digit, "together": together}

    @salver.batch(max_batch_size=32)
    async def read(self, images: list) -> list:
        # In a thread, so that more requests can come in meanwhile.
        digits = await asyncio.to_thread(self.reader.read, images)
        return [(digit, len(images)) for digit in digits]


def build(args: Args) -> salver.Application:
    return Digits.bind(args.weights)
