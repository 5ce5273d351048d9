"""Asks running replicas now and then whether they are well; tells when one is not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Final

from salver.control.members import Member
from salver.spec.options import DeploymentOptions

__all__ = ("FAILURES", "Health")

FAILURES: Final = 3  # in a row, before a replica is given up
JITTER: Final = 0.1  # so that replicas that started together are not asked together
SLACK_S: Final = 1.0  # a replica times its own check; what is later than this is its loop
PATIENCE: Final = 10  # how much longer a loop may be held up where users have no check of their own

Unwell = Callable[[str, str], None]


class _Probe:
    """The checks of one replica: each begins a period after the one before has ended."""

    def __init__(self, member: Member, options: DeploymentOptions, unwell: Unwell) -> None:
        self.member = member
        self.options = options
        self._unwell = unwell
        self._failures = 0
        self._has_check = False  # a `check_health`; not known before it has answered once
        self._task: asyncio.Task[None] | None = None
        self._timer = self._later()

    def stop(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _later(self) -> asyncio.TimerHandle:
        spread = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret
        delay = self.options.health_check_period_s * spread
        return asyncio.get_running_loop().call_later(delay, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._check())

    async def _check(self) -> None:
        peer = self.member.peer
        if peer is not None and peer.is_open:
            limit = self.options.health_check_timeout_s
            patience = (limit if self._has_check else limit * PATIENCE) + SLACK_S
            try:
                async with asyncio.timeout(patience):
                    answer = await peer.call("check_health", {"timeout_s": limit})
                self._has_check = bool(answer)
                self._failures = 0
            except TimeoutError:
                self._failed(f"its event loop has been blocked for {patience:g}s")
            except Exception as error:  # noqa: BLE001 - boundary: whatever the user's check raised
                self._has_check = True
                if peer.is_open:  # else it is dead or dials again; the engine tells which
                    self._failed(str(error))
        self._timer = self._later()

    def _failed(self, message: str) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._unwell(self.member.replica.id, message)


class Health:
    """One probe per serving replica."""

    def __init__(self, unwell: Unwell) -> None:
        self._unwell = unwell
        self._probes: dict[str, _Probe] = {}

    def watch(self, members: Iterable[tuple[Member, DeploymentOptions]]) -> None:
        """From now on these, as far as they serve; all others no longer."""
        serving = {m.replica.id: (m, o) for m, o in members if m.replica.serves}
        for name in self._probes.keys() - serving.keys():
            self._probes.pop(name).stop()
        for name, (member, options) in serving.items():
            probe = self._probes.get(name)
            if probe is not None and probe.options != options:
                probe.stop()
                probe = None
            if probe is None:
                self._probes[name] = _Probe(member, options, self._unwell)

    def close(self) -> None:
        self.watch(())
