"""What replicas log and print carries the request's id."""

import logging

import httpx

from salver import serve
from salver.api import session

logger = logging.getLogger("mine")


@serve.deployment
class Inner:
    def work(self) -> None:
        logger.warning("inner works")


@serve.deployment
class Outer:
    def __init__(self, inner) -> None:
        self.inner = inner

    async def __call__(self, request) -> str:
        logger.warning("outer works")
        print("printed")
        await self.inner.work.remote()
        return "done"


serve.run(Outer.bind(Inner.bind()))
httpx.get(session._instance.url, headers={"x-request-id": "id-of-mine"}).raise_for_status()
serve.shutdown()
