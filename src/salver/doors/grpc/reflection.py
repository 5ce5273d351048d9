"""Reflection: clients without generated code ask which services and messages there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.reflection import aio as reflection

__all__ = ("Reflection",)


class Reflection:
    """Answers from several pools: ours hold no name that could clash with users' code."""

    def __init__(self, services: Iterable[str], pools: Sequence[DescriptorPool]) -> None:
        self._answers = reflection.ReflectionServicer(services, _Pools(pools))
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End the streams of clients that have nothing more to ask."""
        self._closing.set()

    async def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
        """One answer for each question."""
        requests = self._until_closed(request_iterator)
        async for response in self._answers.ServerReflectionInfo(requests, context):
            yield response

    async def _until_closed(self, requests: Any) -> AsyncIterator[Any]:
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(requests, None))
                await asyncio.wait((coming, closing), return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    return
                if (request := coming.result()) is None:
                    return
                yield request
        finally:
            closing.cancel()


class _Pools:
    """The first pool that knows a name answers for it."""

    def __init__(self, pools: Sequence[DescriptorPool]) -> None:
        self._pools = pools

    def __getattr__(self, method: str) -> Any:
        def ask(*args: Any) -> Any:
            for pool in self._pools:
                try:
                    return getattr(pool, method)(*args)
                except KeyError:
                    continue
            raise KeyError(args)

        return ask
