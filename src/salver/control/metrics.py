"""The page of numbers: asked of every process when somebody wants it, pushed by none."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Protocol

import msgspec

from salver.control.events import Events
from salver.spec.ids import ReplicaId
from salver.spec.status import Event
from salver.telemetry.prometheus import page
from salver.telemetry.registry import Family, Kind, Tags, family_of

__all__ = ("Metrics",)

PATIENCE_S: Final = 2.0  # for a process that is held up; the others' numbers do not wait for it
_ENDS: Final = frozenset(("DIED", "UNHEALTHY"))


class Source(Protocol):
    """The line to a process that has numbers."""

    @property
    def is_open(self) -> bool: ...

    async def call(self, method: str, body: Any = None) -> Any: ...


class Metrics:
    """Knows whom to ask. Replicas are sources by their id, doors by their name."""

    def __init__(self, events: Events) -> None:
        self._sources: dict[str, Source] = {}
        self._starts: Counter[Tags] = Counter()
        self._deaths: Counter[Tags] = Counter()
        events.listen(self._heard)

    def joined(self, name: str, source: Source) -> None:
        """Ask this one, too."""
        self._sources[name] = source

    def left(self, name: str, source: Source) -> None:
        """It is gone."""
        if self._sources.get(name) is source:
            del self._sources[name]

    async def page(self) -> str:
        """The numbers of the whole instance, as text."""
        names = [name for name, source in self._sources.items() if source.is_open]
        told = await asyncio.gather(*(self._ask(self._sources[name]) for name in names))
        families = [family for one in told for family in one or ()]
        up = [
            (_tags_of(name), 0.0 if one is None else 1.0)
            for name, one in zip(names, told, strict=True)
        ]
        return page([*families, *self._own(up)])

    async def _ask(self, source: Source) -> list[Family] | None:
        """None: it does not answer."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return msgspec.convert(await source.call("metrics"), list[Family])
        except Exception:  # noqa: BLE001 - boundary: it is held up, or has just died
            return None

    def _own(self, up: Iterable[tuple[Tags, float]]) -> list[Family]:
        return [
            family_of(
                Kind.GAUGE, "salver_up", "1: the process answered when it was asked for this.", up
            ),
            family_of(
                Kind.COUNTER,
                "salver_replica_starts",
                "Replicas that have begun to serve.",
                self._starts.items(),
            ),
            family_of(
                Kind.COUNTER,
                "salver_replica_deaths",
                "Replicas that died or were found unhealthy while they served.",
                self._deaths.items(),
            ),
        ]

    def _heard(self, event: Event) -> None:
        if event.subject.count("#") >= 2 and event.state in (*_ENDS, "RUNNING"):
            deployment = ReplicaId.parse(event.subject).deployment_id
            tags = (("application", deployment.app), ("deployment", deployment.name))
            (self._deaths if event.state in _ENDS else self._starts)[tags] += 1
        elif event.state == "DELETED":
            self._forget(event.subject)

    def _forget(self, app: str) -> None:
        """It is deleted: a page does not grow with every name that there ever was."""
        for counts in (self._starts, self._deaths):
            for tags in [tags for tags in counts if tags[0][1] == app]:
                del counts[tags]


def _tags_of(name: str) -> Tags:
    if "#" not in name:
        return (("process", name),)
    replica = ReplicaId.parse(name)
    deployment = replica.deployment_id
    return (
        ("application", deployment.app),
        ("deployment", deployment.name),
        ("replica", replica.unique_id),
    )
