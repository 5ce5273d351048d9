"""File descriptors for a door's clients: each connection takes one."""

from __future__ import annotations

import resource
from typing import Final

__all__ = ("make_room",)

_OTHERS: Final = 256  # for links to replicas, files and the like


def make_room(connections: int) -> int:
    """Raise this process's limit to so many connections; how many the system really allows.

    A shell's usual limit is 1024: whoever comes beyond it would be cut off without a word.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(soft - _OTHERS, soft // 2)
