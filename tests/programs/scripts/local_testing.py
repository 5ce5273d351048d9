"""Ray Serve's local testing mode: no processes, the same answers."""

import asyncio
import os

from salver import serve


@serve.deployment
class Callee:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.seen = []

    def where(self) -> int:
        return self.pid

    def fails(self) -> None:
        raise ValueError("as elsewhere")

    def items(self, count: int):
        yield from range(count)

    def keep(self, value: list) -> list:
        value.append("changed")
        self.seen = value
        return self.seen


@serve.deployment(user_config={"word": "configured"})
class Caller:
    def __init__(self, callee) -> None:
        self.callee = callee
        self.word = ""

    def reconfigure(self, config: dict) -> None:
        self.word = config["word"]

    async def __call__(self, value: int) -> list:
        chained = self.callee.keep.remote(self.callee.keep.remote([value]))
        return [self.word, await self.callee.where.remote() == os.getpid(), await chained]

    async def stream(self):
        async for item in self.callee.options(stream=True).items.remote(3):
            yield item * 2

    async def forever(self) -> None:
        await asyncio.Event().wait()


handle = serve.run(Caller.bind(Callee.bind()), _local_testing_mode=True)
print(handle.remote(1).result())
print(list(handle.options(stream=True).stream.remote()))
try:
    handle.nope.remote().result()
except serve.SalverError as error:
    print("nope" in str(error))
response = handle.forever.remote()
response.cancel()
print(response.cancelled())


async def main() -> None:
    print(await handle.remote(2))


asyncio.run(main())
serve.shutdown()
