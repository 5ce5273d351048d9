"""Step 2, several replicas: `salver run digits.replicas:build weights=digits.pt`.

Two processes, each with a CPU of its own or, where there is a GPU, with a quarter of it.
"""

from __future__ import annotations

import os

import torch

import salver
from digits import Args
from digits.network import Reader

PLACE = {"num_gpus": 0.25} if torch.cuda.is_available() else {"num_cpus": 1}


@salver.deployment(num_replicas=2, ray_actor_options=PLACE)
class Digits:
    def __init__(self, weights: str) -> None:
        self.reader = Reader(weights)

    async def __call__(self, request):
        image = (await request.json())["pixels"]
        return {
            "digit": self.reader.read([image])[0],
            "process": os.getpid(),
            "device": self.reader.device,
            "threads": torch.get_num_threads(),
        }


def build(args: Args) -> salver.Application:
    return Digits.bind(args.weights)
