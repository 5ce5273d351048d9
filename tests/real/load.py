"""Clients that keep asking while something happens to the instance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.real.rig import PATIENCE_S, Client

__all__ = ("Ask", "Load", "ask_http")

Ask = Callable[[Client, str], Awaitable[str]]


@dataclass
class Load:
    """Clients that ask one thing after another, each under a name of its own."""

    ask: Ask
    port: int
    clients: int = 32
    results: dict[str, str] = field(default_factory=dict)
    _told: asyncio.Condition = field(default_factory=asyncio.Condition)
    _over: bool = False

    @asynccontextmanager
    async def under_way(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(self._ask(number))
            try:
                yield
            finally:
                self._over = True

    async def _ask(self, number: int) -> None:
        async with Client(self.port) as client:
            turn = 0
            while not self._over:
                turn += 1
                name = f"{number}.{turn}"
                self.results[name] = await self.ask(client, name)
                async with self._told:
                    self._told.notify_all()

    @property
    def failed(self) -> set[str]:
        """The names of those that were not answered well."""
        return {name for name, result in self.results.items() if result != "ok"}

    async def more(self, count: int) -> None:
        """Return when so many more requests have been answered."""
        wanted = len(self.results) + count
        async with self._told, asyncio.timeout(PATIENCE_S):
            await self._told.wait_for(lambda: len(self.results) >= wanted)


async def ask_http(client: Client, name: str) -> str:
    reply = await client.get(f"/?id={name}")
    return "ok" if reply.status == 200 else f"{reply.status} {reply.text}"
