"""Step 1, a service: `salver run digits.serve:build weights=digits.pt`.

curl -d '{"pixels": [[0, 0, 5, 13, 9, 1, 0, 0], ...]}' http://127.0.0.1:8000/
"""

from __future__ import annotations

import salver
from digits import Args
from digits.network import Reader


@salver.deployment
class Digits:
    def __init__(self, weights: str) -> None:
        self.reader = Reader(weights)

    async def __call__(self, request):
        image = (await request.json())["pixels"]
        return {"digit": self.reader.read([image])[0]}


def build(args: Args) -> salver.Application:
    return Digits.bind(args.weights)
