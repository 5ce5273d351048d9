"""Below which path an app's requests come: its own prefix, and for a while the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from salver.replica.host import Host

__all__ = ("move", "root_of", "take_root")

# Longer than it takes until all doors know a prefix, and what they have sent before has come.
_PATIENCE_S: Final = 10.0


def take_root(host: Host, route: str) -> None:
    """Requests come below this prefix."""
    host.route = route
    host.roots = ((host.mount + route).rstrip("/"),)


def move(host: Host, route: str) -> None:
    """They come below this one from now on, but those that are under way below the one before."""
    if route == host.route:
        return
    before = host.roots[0]
    take_root(host, route)
    host.roots = moving = (*host.roots, before)

    def moved() -> None:
        if host.roots is moving:
            host.roots = moving[:1]

    host.loop.call_later(_PATIENCE_S, moved)


def root_of(head: bytes, roots: Sequence[str]) -> str:
    """The longest of these that the request's path is below; below none: the first."""
    start = head.find(b" ") + 1
    path = head[start : head.find(b" ", start)].partition(b"?")[0] + b"/"
    above = [root for root in roots if path.startswith(root.encode() + b"/")]
    return max(above, key=len, default=roots[0])
