"""An app inside a test: `with run_inline(app) as running`, or `async with`."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from salver.build import Changes, build, check_target
from salver.program import Application
from salver.testing.inline import InlineApp

__all__ = ("run_inline",)


class run_inline:  # noqa: N801 - reads as the verb it is, as contextlib.closing does
    """Runs an app in this process, without ports, and ends it with the block.

    `running.handle` is the handle of its ingress; `running.asgi` is its HTTP door as an ASGI app,
    for httpx.ASGITransport or Starlette's TestClient; `running.status()` is as `salver.status()`.
    There is no gRPC door: `grpc_options` are refused.
    """

    def __init__(
        self,
        app: Application,
        *,
        name: str = "default",
        route_prefix: str | None = "/",
        grpc_options: Any = None,
    ) -> None:
        if grpc_options is not None:
            raise NotImplementedError(
                "grpc_options: an app in this process has no gRPC door. Call its methods by "
                "`running.handle`, or test a running instance: salver.start(grpc_options=...)."
            )
        check_target(app, name, route_prefix, "run_inline")
        self._spec = build(app, name, route_prefix, Changes(inline=True))
        self._running: InlineApp

    def __enter__(self) -> InlineApp:
        self._running = InlineApp.begin(self._spec)
        return self._running

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()

    async def __aenter__(self) -> InlineApp:
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._running.close)
