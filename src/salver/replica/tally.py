"""What batches there were: how large, how long they took, and how long their items had waited."""

from __future__ import annotations

from typing import Final

__all__ = ("Tally",)

_NS: Final = 1_000_000_000


class Tally:
    """Of one batched function, or of one object's method. A batch that fails is not in it."""

    __slots__ = ("sizes", "waited_ns")

    def __init__(self) -> None:
        self.sizes: dict[int, tuple[int, int]] = {}  # how many, and nanoseconds in all
        self.waited_ns = 0

    def add(self, size: int, waited_s: float, took_s: float) -> None:
        """A batch of so many items; `waited_s`: all of them together."""
        count, took_ns = self.sizes.get(size, (0, 0))
        self.sizes[size] = count + 1, took_ns + int(took_s * _NS)
        self.waited_ns += int(waited_s * _NS)
