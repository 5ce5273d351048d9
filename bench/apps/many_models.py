"""Calls to 1,000 models by Zipf's law: how many find their model loaded, beside one ideal cache."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from starlette.requests import Request

MODELS, REPLICAS, ROOM = 1000, 4, 50  # models in all; replicas; models that one of them keeps
LOAD_S = 0.020


class Model:
    """Knows whether it was asked before."""

    asked = False


def many_models(multiplexed: Any, model_id: Callable[[], str]) -> type:
    """A class that holds models by the framework's own decorator."""

    class ManyModels:
        @multiplexed(max_num_models_per_replica=ROOM)  # type: ignore[untyped-decorator]
        async def get_model(self, _name: str) -> Model:
            await asyncio.sleep(LOAD_S)
            return Model()

        async def predict(self) -> bool:
            """Whether the model was there already."""
            model: Model = await self.get_model(model_id())
            asked, model.asked = model.asked, True
            return asked

    return ManyModels


class ModelLoop:
    """Calls them in a closed loop; the answer is the figures."""

    def __init__(self, many: Any) -> None:
        self.many = many

    async def __call__(self, request: Request) -> dict[str, float]:
        inflight = int(request.query_params.get("inflight", "1"))
        seconds = float(request.query_params.get("seconds", "0.05"))
        chance = random.Random(1)
        weights = list(accumulate(1 / (rank + 1) for rank in range(MODELS)))
        handles = [self.many.options(multiplexed_model_id=f"m{i}").predict for i in range(MODELS)]
        trace: list[int] = []
        took: list[float] = []
        hits = 0
        began = time.perf_counter()

        async def caller() -> None:
            nonlocal hits
            while (now := time.perf_counter()) < began + seconds:
                (model,) = chance.choices(range(MODELS), cum_weights=weights)
                trace.append(model)
                hit = await handles[model].remote()
                hits += hit
                took.append(time.perf_counter() - now)

        await asyncio.gather(*(caller() for _ in range(inflight)))
        wall = time.perf_counter() - began
        took.sort()
        return {
            "requests": len(took),
            "seconds": wall,
            "p50_ms": took[len(took) // 2] * 1e3,
            "p99_ms": took[int(len(took) * 0.99)] * 1e3,
            "errors": 0,
            "hits": hits / len(took),
            "hits_of_ideal": hits / max(1, ideal_hits(trace)),
        }


def ideal_hits(trace: list[int]) -> int:
    """The hits of one LRU cache as large as all replicas together."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for model in trace:
        hits += model in cache
        cache[model] = None
        cache.move_to_end(model)
        if len(cache) > REPLICAS * ROOM:
            cache.popitem(last=False)
    return hits
