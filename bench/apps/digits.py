"""A network of MNIST's size, untrained: what it costs to ask it is what counts."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from starlette.requests import Request
from torch import nn

IMAGE = [(7 * i) % 256 for i in range(28 * 28)]
BODY = json.dumps({"pixels": IMAGE}).encode()
BATCH = 32


class Network(nn.Module):
    """28x28 pixels in, ten scores out: about a millisecond of one core for one image."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.layers = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Linear(128, 10),
        )  # fmt: skip
        self.eval()

    @torch.inference_mode()
    def read(self, images: Sequence[Sequence[int]]) -> list[dict[str, int]]:
        """The digit on each image."""
        pixels = torch.tensor(images, dtype=torch.float32).view(-1, 1, 28, 28) / 255
        return [{"digit": digit} for digit in self.layers(pixels).argmax(1).tolist()]


class Single:
    """One image at a time."""

    def __init__(self) -> None:
        self.network = Network()

    async def __call__(self, request: Request) -> dict[str, int]:
        image = (await request.json())["pixels"]
        return (await asyncio.to_thread(self.network.read, [image]))[0]


def batched(batch: Callable[..., Any]) -> type:
    """The same with the framework's own batches."""

    class Batched:
        def __init__(self) -> None:
            self.network = Network()

        @batch(max_batch_size=BATCH)
        async def read(self, images: list[list[int]]) -> list[dict[str, int]]:
            return await asyncio.to_thread(self.network.read, images)

        async def __call__(self, request: Request) -> dict[str, int]:
            return await self.read((await request.json())["pixels"])

    return Batched


class Loop:
    """Nothing but the network, on batches of `inflight` images; the answer is the figures."""

    def __init__(self) -> None:
        self.network = Network()

    async def __call__(self, request: Request) -> dict[str, float]:
        size = int(request.query_params.get("inflight", "1"))
        seconds = float(request.query_params.get("seconds", "0.05"))
        return await asyncio.to_thread(self.run, size, seconds)

    def run(self, size: int, seconds: float) -> dict[str, float]:
        """Read until the time is over."""
        requests, began = 0, time.perf_counter()
        while (wall := time.perf_counter() - began) < seconds or not requests:
            requests += len(self.network.read([IMAGE] * size))
        return {"requests": requests, "seconds": wall, "errors": 0}
