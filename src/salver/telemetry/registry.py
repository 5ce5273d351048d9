"""The numbers of one process, by name; and the plain form in which they go to whoever asks."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

__all__ = (
    "Distribution",
    "Family",
    "Kind",
    "MetricScope",
    "Numbers",
    "Registry",
    "Sample",
    "Tags",
    "family_of",
    "metric_scope",
    "registry",
)

Tags = tuple[tuple[str, str], ...]
_FOREIGN: Final = re.compile(r"[^a-zA-Z0-9_:]")


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class MetricScope(NamedTuple):
    """What is known of the code that counts: tags that all its numbers carry, and its route."""

    tags: Tags = ()
    route: Callable[[], str] = str


# Set once for each replica, so that every call of it inherits the same.
metric_scope: Final[ContextVar[MetricScope | None]] = ContextVar("salver_metrics", default=None)


class Distribution(msgspec.Struct, frozen=True, array_like=True):
    """How many values fell up to each boundary, and (last) beyond all; their number and sum."""

    buckets: tuple[int, ...]
    count: int
    sum: float


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """The value of one set of tags: a number, or how numbers were spread."""

    tags: Tags
    value: float | Distribution


class Family(msgspec.Struct, frozen=True):
    """A metric with all its samples, ready to travel."""

    name: str
    kind: Kind
    description: str = ""
    boundaries: tuple[float, ...] = ()
    samples: tuple[Sample, ...] = ()


def family_of(
    kind: Kind, name: str, description: str, values: Iterable[tuple[Tags, float]]
) -> Family:
    """A family of plain numbers."""
    return Family(name, kind, description, samples=tuple(Sample(t, float(v)) for t, v in values))


class Numbers:
    """The values of one metric in this process, by the scope that counted and by tags.

    A value is a float; of a histogram a list: one count per bucket, and the sum at its end.
    """

    def __init__(
        self, name: str, kind: Kind, description: str, boundaries: tuple[float, ...]
    ) -> None:
        self.name = name
        self.kind = kind
        self.description = description
        self.boundaries = boundaries
        self.lock = threading.Lock()
        self.values: dict[tuple[Tags, Tags], float | list[float]] = {}

    def samples(self, scope: Tags) -> tuple[Sample, ...]:
        """What was counted under this scope."""
        with self.lock:
            return tuple(
                Sample(of + tags, _frozen(value))
                for (of, tags), value in self.values.items()
                if of == scope
            )


def _frozen(value: float | list[float]) -> float | Distribution:
    if not isinstance(value, list):
        return value
    buckets = tuple(int(count) for count in value[:-1])
    return Distribution(buckets, sum(buckets), value[-1])


class Registry:
    """Every metric of a process. Two metrics of one name are one: their values add up."""

    def __init__(self) -> None:
        self.scope = MetricScope()  # of code that runs in no call: threads, for example
        self._lock = threading.Lock()
        self._numbers: dict[str, Numbers] = {}

    def numbers(
        self, name: str, kind: Kind, description: str, boundaries: tuple[float, ...] = ()
    ) -> Numbers:
        """Those of this name. ValueError: they are of another kind."""
        key = _FOREIGN.sub("_", name)
        if key[0].isdigit():
            key = f"_{key}"
        with self._lock:
            numbers = self._numbers.get(key)
            if numbers is None:
                numbers = self._numbers[key] = Numbers(key, kind, description, boundaries)
        if numbers.kind is not kind or numbers.boundaries != boundaries:
            what = f"a {numbers.kind}" if numbers.kind is not kind else "one of other boundaries"
            raise ValueError(
                f"The metric {name!r} is there already, and is {what}. Choose another name."
            )
        return numbers

    def collect(self, scope: Tags) -> list[Family]:
        """What was counted under this scope, as it is now."""
        with self._lock:
            known = list(self._numbers.values())
        return [
            Family(n.name, n.kind, n.description, n.boundaries, samples)
            for n in known
            if (samples := n.samples(scope))
        ]


# This process's: users make metrics wherever they like, before anything of ours runs.
registry: Final = Registry()
