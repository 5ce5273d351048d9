"""Users' own numbers: counters, gauges and histograms, with tags. Kept in this process for now."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ("Counter", "Distribution", "Gauge", "Histogram")

Tags = tuple[tuple[str, str], ...]
BOUNDARIES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RESERVED: Final = ("application", "deployment", "replica")


class Metric:
    """A name, what it means, and a value for each set of tags."""

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        if not name:
            raise ValueError("A metric needs a name: expected at least one character.")
        if tag_keys is not None and not isinstance(tag_keys, tuple):
            raise TypeError(
                f"tag_keys={tag_keys!r} is not valid: expected a tuple of str, such as ('model',)."
            )
        for key in tag_keys or ():
            if key in _RESERVED:
                raise ValueError(f"The tag {key!r} is Salver's own. Choose another name.")
        self.name = name
        self.description = description
        self.tag_keys = tag_keys or ()
        self._defaults: dict[str, str] = {}
        self._lock = threading.Lock()

    def set_default_tags(self, default_tags: Mapping[str, str]) -> None:
        """Tags for every later value that does not bring its own."""
        self._check(default_tags)
        self._defaults = dict(default_tags)

    def _key(self, tags: Mapping[str, str] | None) -> Tags:
        given = {**self._defaults, **(tags or {})}
        self._check(given)
        missing = [key for key in self.tag_keys if key not in given and key != "route"]
        if missing:
            raise ValueError(
                f"Metric {self.name} got no value for the tags {missing}. Pass tags={{...}}, or "
                "set_default_tags once."
            )
        return tuple(sorted(given.items()))

    def _check(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if key not in self.tag_keys:
                raise ValueError(
                    f"Metric {self.name} has no tag {key!r}. Declared: {list(self.tag_keys)}."
                )
            if not isinstance(value, str):
                raise TypeError(f"Tag {key}={value!r} of metric {self.name}: expected a str.")

    def __reduce__(self) -> tuple[type[Metric], tuple[str, str, tuple[str, ...]]]:
        return type(self), (self.name, self.description, self.tag_keys)


class Counter(Metric):
    """A sum that only grows."""

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(name, description, tag_keys)
        self._sums: dict[Tags, float] = {}

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add to it."""
        if value <= 0:
            raise ValueError(f"A counter only grows: expected a value above 0, got {value!r}.")
        key = self._key(tags)
        with self._lock:
            self._sums[key] = self._sums.get(key, 0.0) + value

    def values(self) -> dict[Tags, float]:
        """The sums so far, by tags."""
        with self._lock:
            return dict(self._sums)


class Gauge(Metric):
    """A value that is now this, now that."""

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(name, description, tag_keys)
        self._now: dict[Tags, float] = {}

    def set(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """It is this now."""
        key = self._key(tags)
        with self._lock:
            self._now[key] = float(value)

    def values(self) -> dict[Tags, float]:
        """The values now, by tags."""
        with self._lock:
            return dict(self._now)


class Distribution(msgspec.Struct, frozen=True):
    """How many values fell up to each boundary, and (last) beyond all; their number and sum."""

    buckets: tuple[int, ...]
    count: int
    sum: float


class Histogram(Metric):
    """How values are spread."""

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: list[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        self.boundaries = tuple(boundaries) if boundaries is not None else BOUNDARIES
        if not self.boundaries or list(self.boundaries) != sorted(set(self.boundaries)):
            raise ValueError(
                f"boundaries={boundaries!r} are not valid: expected numbers, each above the last."
            )
        self._spread: dict[Tags, tuple[list[int], float]] = {}

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Count this value."""
        key = self._key(tags)
        with self._lock:
            buckets, total = self._spread.get(key) or ([0] * (len(self.boundaries) + 1), 0.0)
            buckets[bisect_left(self.boundaries, value)] += 1
            self._spread[key] = (buckets, total + value)

    def values(self) -> dict[Tags, Distribution]:
        """The spreads so far, by tags."""
        with self._lock:
            return {
                key: Distribution(tuple(buckets), sum(buckets), total)
                for key, (buckets, total) in self._spread.items()
            }

    def __reduce__(self) -> tuple[type[Metric], tuple[object, ...]]:  # type: ignore[override]
        return Histogram, (self.name, self.description, list(self.boundaries), self.tag_keys)
