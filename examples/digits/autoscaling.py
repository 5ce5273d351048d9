"""Step 3, as many replicas as are needed: `salver run digits.autoscaling:build weights=digits.pt`.

One at rest, up to three when many clients come at once.
"""

from __future__ import annotations

import os

import salver
from digits import Args
from digits.network import Reader


@salver.deployment(
    max_ongoing_requests=16,
    ray_actor_options={"num_cpus": 0.5},
    autoscaling_config={
        "min_replicas": 1,
        "max_replicas": 3,
        "target_ongoing_requests": 8,  # more at one replica: it gets help
        "look_back_period_s": 2,
        "upscale_delay_s": 1,
        "downscale_delay_s": 30,
    },
)
class Digits:
    def __init__(self, weights: str) -> None:
        self.reader = Reader(weights)

    async def __call__(self, request):
        image = (await request.json())["pixels"]
        return {"digit": self.reader.read([image])[0], "process": os.getpid()}


def build(args: Args) -> salver.Application:
    return Digits.bind(args.weights)
