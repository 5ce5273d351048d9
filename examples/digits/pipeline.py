"""Step 5, a pipeline: `salver run digits.pipeline:build weights=digits.pt` (needs Pillow).

One deployment makes 8x8 pixels of any picture, the next one reads them; each has its own replicas.

curl --data-binary @digit.png http://127.0.0.1:8000/
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

import salver
from digits import Args


@salver.deployment(num_replicas=2)
class Preprocess:
    def shrink(self, data: bytes) -> list[list[float]]:
        with Image.open(io.BytesIO(data)) as image:
            small = image.convert("L").resize((8, 8), Image.Resampling.BOX)
        return (np.asarray(small) / 255 * 16).tolist()


@salver.deployment
class Read:
    def __init__(self, weights: str) -> None:
        from digits.network import Reader  # only these replicas need torch

        self.reader = Reader(weights)

    @salver.batch(max_batch_size=32)
    async def read(self, images: list) -> list[int]:
        return self.reader.read(images)


@salver.deployment
class Pipeline:
    def __init__(self, preprocess, read) -> None:
        self.preprocess = preprocess
        self.read = read

    async def __call__(self, request):
        # Not awaited: the pixels go from one deployment straight to the next.
        pixels = self.preprocess.shrink.remote(await request.body())
        return {"digit": await self.read.read.remote(pixels)}


def build(args: Args) -> salver.Application:
    return Pipeline.bind(Preprocess.bind(), Read.bind(args.weights))
