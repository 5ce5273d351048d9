"""Asks replicas for their own figures (`record_autoscaling_stats`), while their class has any."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from salver.control.members import Member

__all__ = ("Stats", "read_stats")

Told = Callable[[Member, Mapping[str, float]], None]


class Stats:
    """Of one app. A task per serving replica, which ends when that has nothing to tell."""

    def __init__(self, told: Told, failed: Callable[[Member, str], None], limit_s: float) -> None:
        self._told = told
        self._failed = failed
        self._limit_s = limit_s
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def watch(self, members: Mapping[str, tuple[Member, float]]) -> None:
        """From now on these, each so often, as far as they serve; all others no longer."""
        serving = {n: m for n, m in members.items() if m[0].replica.serves}
        for name in self._tasks.keys() - serving.keys():
            self._tasks.pop(name).cancel()
        for name, (member, period_s) in serving.items():
            if name not in self._tasks and member.peer is not None:
                self._tasks[name] = asyncio.create_task(self._ask(member, period_s))

    def close(self) -> None:
        self.watch({})

    async def _ask(self, member: Member, period_s: float) -> None:
        while True:
            peer = member.peer
            if peer is not None and peer.is_open:
                try:
                    async with asyncio.timeout(self._limit_s):
                        figures = await peer.call("autoscaling_stats")
                    if figures is None:
                        return
                    self._told(member, read_stats(figures))
                except TimeoutError:
                    self._failed(member, f"no answer within {self._limit_s:g}s")
                except Exception as error:  # noqa: BLE001 - boundary: whatever the user's code raised
                    if peer.is_open:
                        said = str(error).strip().splitlines() or [type(error).__name__]
                        self._failed(member, said[-1])  # of a traceback, the error
            await asyncio.sleep(period_s)


def read_stats(figures: Any) -> dict[str, float]:
    """Numbers by name. TypeError: they are something else."""
    if not isinstance(figures, dict):
        raise TypeError(f"it returned {figures!r}: expected a dict of numbers by name.")
    for name, value in figures.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not isinstance(name, str) or not number or not isfinite(value):
            raise TypeError(f"it returned {name!r}: {value!r}; expected numbers by name.")
    return {name: float(value) for name, value in figures.items()}
