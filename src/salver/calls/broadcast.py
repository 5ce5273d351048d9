"""One call to every replica of a deployment."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as _Timeout
from typing import TYPE_CHECKING, Any

from salver.calls.response import DeploymentResponse
from salver.errors import DeploymentUnavailableError

if TYPE_CHECKING:
    from salver.calls.context import Child
    from salver.calls.outgoing import HandleCall
    from salver.calls.router import Router
    from salver.calls.splice import Encoded

__all__ = ("DeploymentBroadcastResponse",)


class DeploymentBroadcastResponse:
    """The answers of all replicas that run when the call is made, in no particular order."""

    def __init__(
        self,
        router: Router,
        method: str,
        payload: bytes | Encoded,
        meta: bytes,
        upstreams: list[HandleCall],
    ) -> None:
        self._router = router
        self._method = method
        self._payload = payload
        self._meta = meta
        self._upstreams = upstreams
        self._calls: Future[list[DeploymentResponse]] = Future()
        self._finding: asyncio.Task[None] | None = None

    # ---- for users

    def results(self, timeout_s: float | None = None, return_exceptions: bool = False) -> list[Any]:
        """Wait for every answer, in a thread that runs no event loop.

        Raises the first error, or gives errors in place of answers with `return_exceptions`;
        TimeoutError when `timeout_s` passes first.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            calls = self._calls.result(timeout_s)
        except _Timeout:
            raise TimeoutError(f"No replica is known after {timeout_s:g}s.") from None
        answers = []
        for call in calls:
            left = None if end is None else max(0.0, end - time.monotonic())
            try:
                answers.append(call.result(timeout_s=left))
            except Exception as error:
                if not return_exceptions or (isinstance(error, TimeoutError) and left == 0.0):
                    raise
                answers.append(error)
        return answers

    async def results_async(
        self, timeout_s: float | None = None, return_exceptions: bool = False
    ) -> list[Any]:
        """The same in async code."""
        async with asyncio.timeout(timeout_s):
            calls = await asyncio.wrap_future(self._calls)
            return await asyncio.gather(*map(_answer, calls), return_exceptions=return_exceptions)

    def cancel(self) -> None:
        """Cancel every call. Harmless where one is done."""
        self._calls.add_done_callback(_cancel)

    def __repr__(self) -> str:
        return f"<DeploymentBroadcastResponse of {self._router.deployment}.{self._method}>"

    # ---- home loop

    def begin(self, children: set[Child] | None) -> None:
        """Call every replica, as soon as it is known which there are."""
        if self._router.fleet.view is not None or self._router.gone:
            self._call_all(children)
        else:
            self._finding = self._router.cluster.loop.create_task(self._find(children))

    async def _find(self, children: set[Child] | None) -> None:
        await self._router.cluster.directory.wait_for(self._router.deployment)
        self._call_all(children)

    def _call_all(self, children: set[Child] | None) -> None:
        router = self._router
        if router.gone:
            error = DeploymentUnavailableError(router.deployment, router.gone)
            self._calls.set_exception(error)
            return
        calls = []
        for link in router.every_link():
            call = DeploymentResponse(router, self._method, self._payload, self._meta, children)
            calls.append(call)
            if self._upstreams:
                call.submit_after(self._upstreams, link.lane.start)
            else:
                link.lane.start(call)
        self._calls.set_result(calls)


async def _answer(call: DeploymentResponse) -> Any:
    return await call


def _cancel(calls: Future[list[DeploymentResponse]]) -> None:
    if calls.exception() is None:
        for call in calls.result():
            call.cancel()
