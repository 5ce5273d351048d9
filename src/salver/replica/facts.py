"""What a replica says of itself to those who choose between replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from salver.replica.models import Catalogue
from salver.replica.multiplex import loaders_of
from salver.spec.status import ReplicaFacts

__all__ = ("Facts",)


class Facts:
    """Tells what has changed once per loop tick; the latest is told again by `repeat`."""

    def __init__(self, replica_id: str) -> None:
        self.tell: Callable[[ReplicaFacts], None] | None = None
        self.catalogue = Catalogue(self._changed)
        self._told = ReplicaFacts(replica_id)
        self._due: asyncio.Handle | None = None

    def begin(self, target: Any) -> None:
        """The user's object is there: say what models it may hold."""
        for loader in loaders_of(target):
            loader.of(target)

    async def close(self) -> None:
        """End every model, and tell nothing more."""
        self.tell = None
        if self._due is not None:
            self._due.cancel()
        await self.catalogue.close()

    def repeat(self) -> None:
        """Tell it again: to another controller."""
        if self._told != ReplicaFacts(self._told.replica):
            self._say(self._told)

    def _changed(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._due = None
        catalogue = self.catalogue
        now = ReplicaFacts(self._told.replica, catalogue.ids, catalogue.room)
        if now != self._told:
            self._told = now
            self._say(now)

    def _say(self, facts: ReplicaFacts) -> None:
        if self.tell is not None:
            self.tell(facts)
