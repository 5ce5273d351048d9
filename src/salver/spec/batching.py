"""Every option of `@batch`, once: its name, default, bounds and what it means."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, NoReturn

__all__ = ("BatchOptions",)


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """When a batch is full, how long it may wait for that, and how many run at the same time."""

    max_batch_size: int = 10
    """So many items, or so much by `batch_size_fn`, go into one batch at most."""

    batch_wait_timeout_s: float | None = None
    """So long the first item waits for others. None: it does not wait while a batch may run."""

    max_concurrent_batches: int = 1
    """So many batches run at the same time."""

    batch_size_fn: Callable[[list[Any]], float] | None = None
    """The size of these items in one batch. It must not shrink when an item is added."""

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def having(self, **changed: Any) -> BatchOptions:
        """The same with other values, checked."""
        return replace(self, **changed)


def _count(name: str, value: Any) -> int:
    whole = isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole:
        _refuse(TypeError, name, value, "a whole number of at least 1")
    if value < 1:
        _refuse(ValueError, name, value, "a whole number of at least 1")
    return int(value)


def _wait(name: str, value: Any) -> float | None:
    if value is None:
        return None
    expected = "a number of seconds, 0 or more, or None for no waiting"
    if isinstance(value, bool) or not isinstance(value, Real):
        _refuse(TypeError, name, value, expected)
    seconds = float(value)
    if not 0 <= seconds < math.inf:
        _refuse(ValueError, name, value, expected)
    return seconds


def _size(name: str, value: Any) -> Any:
    if value is not None and (not callable(value) or inspect.iscoroutinefunction(value)):
        _refuse(TypeError, name, value, "a plain function that takes a list and returns a number")
    return value


def _refuse(error: type[Exception], name: str, value: object, expected: str) -> NoReturn:
    raise error(f"{name}={value!r} is not valid: expected {expected}.")


_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "max_batch_size": _count,
    "batch_wait_timeout_s": _wait,
    "max_concurrent_batches": _count,
    "batch_size_fn": _size,
}
