"""Two adders work at the same time, a combiner joins what they say: `salver run composition:app`.

curl 'http://127.0.0.1:8000/?number=1'
"""

from __future__ import annotations

import asyncio

import salver


@salver.deployment
class Adder:
    def __init__(self, increment: int) -> None:
        self.increment = increment

    async def add(self, number: int) -> int:
        return number + self.increment


@salver.deployment
class Combiner:
    def __init__(self, adders) -> None:
        self.adders = adders  # handles, once this runs in a replica

    async def __call__(self, request):
        number = int(request.query_params.get("number", "1"))
        sums = await asyncio.gather(*(adder.add.remote(number) for adder in self.adders))
        return {"sums": sums, "product": sums[0] * sums[1]}


app = Combiner.bind([Adder.options(name="AddOne").bind(1), Adder.options(name="AddTen").bind(10)])
