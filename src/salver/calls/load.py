"""Tells the controller of the calls that wait and run here, for deployments that autoscale."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from salver.core.autoscale import report_pauses
from salver.spec.status import DeploymentView, Load

if TYPE_CHECKING:
    from salver.calls.router import Router, RouterStats

__all__ = ("LoadReports",)

_GAP_S: Final = 0.01  # between two reports for the sake of calls that wait


class LoadReports:
    """One per process. Calls pay nothing for it: it looks at the routers' counters now and then.

    Only what has changed is told. A call that has to wait is told of at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, send: Callable[[list[Load]], None]) -> None:
        self._loop = loop
        self.send = send
        self._routers: dict[Router, float] = {}  # and how often each is looked at
        self._told: dict[Router, RouterStats] = {}
        self._pauses: Iterator[float] = iter(())
        self._timer: asyncio.TimerHandle | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._last = 0.0

    def follow(self, router: Router, view: DeploymentView) -> None:
        """Report this router's load as long as its deployment asks for it, and as often."""
        if view.gone or not view.report_s:
            router.reports = None
            self._routers.pop(router, None)
            self._told.pop(router, None)
            if self._routers:
                self._pauses = report_pauses(min(self._routers.values()))
            else:
                self._stop()
        elif self._routers.get(router) != view.report_s:
            router.reports = self
            self._routers[router] = view.report_s
            self._pauses = report_pauses(min(self._routers.values()))
            self.hurry()

    def hurry(self) -> None:
        """A call waits: its deployment may need another replica now."""
        if self._soon is None:
            at = max(self._loop.time(), self._last + _GAP_S)
            self._soon = self._loop.call_at(at, self._report)

    def again(self) -> None:
        """There is a new controller, who knows nothing."""
        self._told.clear()
        if self._routers:
            self.hurry()

    def close(self) -> None:
        """Report nothing more."""
        self._stop()
        self._routers.clear()
        self._told.clear()

    def _report(self) -> None:
        self._stop()
        self._last = self._loop.time()
        news = []
        for router in self._routers:
            before, now = self._told.get(router), router.stats()
            if before != now:
                self._told[router] = now
                calls = now.calls - (before.calls if before is not None else 0)
                news.append(Load(router.deployment, now.queued, now.inflight, calls))
        if news:
            self.send(news)
        if self._routers:
            self._timer = self._loop.call_later(next(self._pauses), self._report)

    def _stop(self) -> None:
        for timer in (self._timer, self._soon):
            if timer is not None:
                timer.cancel()
        self._timer = self._soon = None
