"""Which rank each replica of a deployment has: 0 to n - 1, kept for as long as it can be."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ("assign",)


def assign(held: Mapping[str, int | None], size: int) -> dict[str, int]:
    """A rank for every replica. None: it has none yet.

    Who has one below `size` keeps it; everyone else gets the smallest that is free. So the rank of
    a replica that is gone is its successor's, and once `size` replicas are left there is no gap.
    """
    ranks = {name: rank for name, rank in held.items() if rank is not None and rank < size}
    # New ones come last: what others hold above `size` may stay theirs.
    for name, rank in sorted(held.items(), key=lambda entry: entry[1] is None):
        if name not in ranks:
            free = next(i for i in range(len(held) + 1) if i not in ranks.values())
            ranks[name] = free if rank is None or free < size else rank
    return ranks
