"""Work that may go on after the answer, such as background tasks: a replica waits for it, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ("Trailing",)


class Trailing:
    """The tasks that are within `with trailing():`; `left` is called when one leaves."""

    def __init__(self, left: Callable[[], None]) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self._left = left

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Around such work."""
        task = asyncio.current_task()
        if task is None or task in self.tasks:
            yield
            return
        self.tasks.add(task)
        try:
            yield
        finally:
            self.tasks.discard(task)
            self._left()
