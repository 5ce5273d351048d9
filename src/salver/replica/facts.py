"""What a replica says of itself to those who choose between replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec

from salver.replica.invoke import call_hook
from salver.replica.models import Catalogue
from salver.replica.multiplex import loaders_of
from salver.spec.routing import RequestRouterConfig
from salver.spec.status import ReplicaFacts

__all__ = ("Facts",)

_logger: Final = logging.getLogger("salver")
_STATS: Final = "record_routing_stats"
_METADATA: Final = "record_replica_metadata"


class Facts:
    """Tells what has changed once per loop tick; the latest is told again by `repeat`."""

    def __init__(self, replica_id: str) -> None:
        self.tell: Callable[[ReplicaFacts], None] | None = None
        self.catalogue = Catalogue(self._changed)
        self._told = ReplicaFacts(replica_id)
        self._stats: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}
        self._due: asyncio.Handle | None = None
        self._asking: asyncio.Task[None] | None = None

    async def begin(self, target: Any, config: RequestRouterConfig | None) -> None:
        """The user's object is there: say what models it may hold, and what its hooks say."""
        for loader in loaders_of(target):
            loader.of(target)
        if callable(hook := getattr(target, _METADATA, None)):
            self._metadata = _checked(await call_hook(hook), _METADATA)
            self._changed()
        if callable(hook := getattr(target, _STATS, None)):
            config = config or RequestRouterConfig()
            period_s = config.request_routing_stats_period_s
            timeout_s = config.request_routing_stats_timeout_s
            self._asking = asyncio.create_task(self._ask(hook, period_s, timeout_s))

    async def close(self) -> None:
        """End every model, and tell nothing more."""
        self.tell = None
        if self._asking is not None:
            self._asking.cancel()
        if self._due is not None:
            self._due.cancel()
        await self.catalogue.close()

    def repeat(self) -> None:
        """Tell it again: to another controller."""
        if self._told != ReplicaFacts(self._told.replica):
            self._say(self._told)

    async def _ask(self, hook: Callable[[], Any], period_s: float, timeout_s: float) -> None:
        """Have the user's figures for ever: now, and every period."""
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    self._stats = _checked(await call_hook(hook), _STATS)
                self._changed()
            except Exception:  # the user's code: what it said last stands
                _logger.exception("%s of replica %s failed:", _STATS, self._told.replica)
            await asyncio.sleep(period_s)

    def _changed(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._due = None
        catalogue, replica = self.catalogue, self._told.replica
        now = ReplicaFacts(replica, catalogue.ids, catalogue.room, self._stats, self._metadata)
        if now != self._told:
            self._told = now
            self._say(now)

    def _say(self, facts: ReplicaFacts) -> None:
        if self.tell is not None:
            self.tell(facts)


def _checked(said: Any, hook: str) -> dict[str, Any]:
    """A copy, of what can be sent."""
    if not isinstance(said, dict):
        raise TypeError(f"{hook} returned {said!r}: expected a dict.")
    try:
        copy: dict[str, Any] = msgspec.to_builtins(said, str_keys=True)
        msgspec.msgpack.encode(copy)
    except (TypeError, OverflowError) as error:
        raise TypeError(
            f"{hook} returned {said!r}: expected numbers, strings, lists and dicts ({error})."
        ) from None
    return copy
