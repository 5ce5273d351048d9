"""Calls that are for one replica and no other: to all of them, or to one that was chosen before."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from salver.calls.call import DONE, QUEUED, Call
from salver.errors import ReplicaUnavailableError

if TYPE_CHECKING:
    from salver.calls.link import Link

__all__ = ("Lane",)


class Lane:
    """Those that wait for a slot of this link. They go before what waits for any replica."""

    __slots__ = ("_calls", "_link")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._calls: deque[Call] = deque()

    def __len__(self) -> int:
        return len(self._calls)

    def start(self, call: Call) -> None:
        """Send the call when there is room; fail it when the replica goes before it has begun."""
        link = self._link
        if call.state == DONE:
            return
        if link.open and not self._calls and link.inflight < link.window:
            link.start(call)
        else:
            self.wait(call)

    def wait(self, call: Call, *, first: bool = False) -> None:
        """Have the call wait for room; `first`: it was with the replica before."""
        link = self._link
        call.state = QUEUED
        call.link = link
        if link.leaving or link.gone:
            call.failed(ReplicaUnavailableError(link.replica.id))
            return
        link.heeded = True
        (self._calls.appendleft if first else self._calls.append)(call)

    def serve(self) -> None:
        """Start what waits, as far as there is room."""
        calls, link = self._calls, self._link
        while calls and link.open and link.inflight < link.window:
            call = calls.popleft()
            if call.state != DONE:
                link.start(call)
        link.heeded = link.leaving or bool(calls)

    def forsake(self) -> None:
        """The replica takes no calls any more: these waited in vain."""
        calls, self._calls = self._calls, deque()
        for call in calls:
            if call.state != DONE:
                call.failed(ReplicaUnavailableError(self._link.replica.id))
