"""Users' own numbers: counters, gauges and histograms, with tags."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from salver.telemetry.registry import Kind, Tags, metric_scope, registry

__all__ = ("Counter", "Gauge", "Histogram")

BOUNDARIES: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_RESERVED: Final = ("application", "deployment", "replica")


class Metric:
    """A name, what it means, and a value for each set of tags.

    In a replica every value also carries the tags `deployment`, `replica` and `application`; a tag
    key `route` is filled with the current request's route where no value is given.
    """

    kind: ClassVar[Kind]

    def __init__(
        self,
        name: str,
        description: str = "",
        tag_keys: tuple[str, ...] | None = None,
        _boundaries: tuple[float, ...] = (),
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"A metric needs a name, at least one character; got {name!r}.")
        _check_tag_keys(tag_keys)
        self.name = name
        self.description = description
        self.tag_keys = tag_keys or ()
        self._defaults: dict[str, str] = {}
        self._numbers = registry.numbers(name, self.kind, description, _boundaries)

    def set_default_tags(self, default_tags: Mapping[str, str]) -> None:
        """Tags for every later value that does not bring its own."""
        self._check(default_tags)
        self._defaults = dict(default_tags)

    def _key(self, tags: Mapping[str, str] | None) -> tuple[Tags, Tags]:
        given = {**self._defaults, **(tags or {})}
        self._check(given)
        scope = metric_scope.get() or registry.scope
        if len(given) < len(self.tag_keys):
            if "route" in self.tag_keys and "route" not in given:
                given["route"] = scope.route()
            self._refuse_missing(given)
        return scope.tags, tuple(sorted(given.items()))

    def _refuse_missing(self, given: Mapping[str, str]) -> None:
        missing = [key for key in self.tag_keys if key not in given]
        if missing:
            raise ValueError(
                f"Metric {self.name} got no value for the tags {missing}. Pass tags={{...}}, or "
                "set_default_tags once."
            )

    def _check(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            if key in _RESERVED:
                raise ValueError(_reserved(key))
            if key not in self.tag_keys:
                raise ValueError(
                    f"Metric {self.name} has no tag {key!r}. Declared: {list(self.tag_keys)}."
                )
            if not isinstance(value, str):
                raise TypeError(f"Tag {key}={value!r} of metric {self.name}: expected a str.")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self._made_of(), self._defaults)

    def _made_of(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "description": self.description,
            "tag_keys": self.tag_keys or None,
        }


class Counter(Metric):
    """A sum that only grows."""

    kind = Kind.COUNTER

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(name, description, tag_keys)

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add to it."""
        if not value > 0:
            raise ValueError(f"A counter only grows: expected a value above 0, got {value!r}.")
        key = self._key(tags)
        values: dict[Any, Any] = self._numbers.values
        with self._numbers.lock:
            values[key] = values.get(key, 0.0) + value


class Gauge(Metric):
    """A value that is now this, now that."""

    kind = Kind.GAUGE

    def __init__(
        self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None
    ) -> None:
        super().__init__(name, description, tag_keys)

    def set(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """It is this now."""
        number, key = float(value), self._key(tags)
        with self._numbers.lock:
            self._numbers.values[key] = number


class Histogram(Metric):
    """How values are spread."""

    kind = Kind.HISTOGRAM

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        self.boundaries = _checked_boundaries(boundaries)
        super().__init__(name, description, tag_keys, self.boundaries)

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Count this value."""
        number, key = float(value), self._key(tags)
        bucket = bisect_left(self.boundaries, number)
        values: dict[Any, Any] = self._numbers.values
        with self._numbers.lock:
            spread = values.get(key)
            if spread is None:
                spread = values[key] = [0] * (len(self.boundaries) + 1) + [0.0]
            spread[bucket] += 1
            spread[-1] += number

    def _made_of(self) -> dict[str, Any]:
        return {**super()._made_of(), "boundaries": self.boundaries}


def _restore(kind: type[Metric], made_of: dict[str, Any], defaults: dict[str, str]) -> Metric:
    metric = kind(**made_of)
    metric.set_default_tags(defaults)
    return metric


def _check_tag_keys(tag_keys: object) -> None:
    if tag_keys is None:
        return
    if not isinstance(tag_keys, tuple) or not all(isinstance(key, str) for key in tag_keys):
        raise TypeError(
            f"tag_keys={tag_keys!r} is not valid: expected a tuple of str, such as ('model',)."
        )
    for key in tag_keys:
        if key in _RESERVED:
            raise ValueError(_reserved(key))


def _reserved(key: str) -> str:
    return f"The tag {key!r} is Salver's own: it is added by itself. Choose another name."


def _checked_boundaries(given: Sequence[float] | None) -> tuple[float, ...]:
    if given is None:
        return BOUNDARIES
    numbers = tuple(float(b) for b in given if isinstance(b, int | float))
    if not numbers or len(numbers) != len(given) or list(numbers) != sorted(set(numbers)):
        raise ValueError(
            f"boundaries={given!r} are not valid: expected numbers, each above the last."
        )
    return numbers
