"""What lives and ends with a replica's object, beside its calls."""

from __future__ import annotations

from typing import Any, Final, Protocol

from salver.replica.context import ReplicaContext

__all__ = ("COMPANION", "Companion", "companion_of")

# The attribute of a class that makes its objects' companions: called with the object and context.
COMPANION: Final = "__salver_companion__"


class Companion(Protocol):
    """Begins when the object is there and configured; is drained as its calls are."""

    async def begin(self) -> None:
        """Raises what fails the start of the replica."""

    def check(self) -> None:
        """Raise what makes the replica unhealthy."""

    async def drain(self, timeout_s: float) -> bool:
        """Take on nothing new; whether what is under way has ended in time. May be asked twice."""


def companion_of(target: Any, context: ReplicaContext) -> Companion | None:
    """None: the object's class asks for none."""
    make = getattr(type(target), COMPANION, None)
    return None if make is None else make(target, context)
