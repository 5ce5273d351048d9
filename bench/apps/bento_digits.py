"""What BentoML serves of the digits case: `bentoml serve bench.apps.bento_digits:Digits`."""

from __future__ import annotations

import bentoml

from bench.apps.digits import Network


@bentoml.service(workers=1, traffic={"timeout": 60})
class Digits:
    """POST /read reads one image, POST /read_batch collects those that come together."""

    def __init__(self) -> None:
        self.network = Network()

    @bentoml.api
    def read(self, pixels: list[int]) -> dict[str, int]:
        return self.network.read([pixels])[0]

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def read_batch(self, images: list[list[int]]) -> list[dict[str, int]]:
        return self.network.read(images)
