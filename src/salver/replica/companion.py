"""What lives and ends with a replica's object, beside its calls."""

from __future__ import annotations

from typing import Any, Final

from salver.replica.context import ReplicaContext

__all__ = ("COMPANION", "Companion", "begin_companion")

# The attribute of a class that makes its objects' companions: called with the object and context.
COMPANION: Final = "__salver_companion__"


class Companion:
    """Begins when the object is there and configured; is drained as its calls are. This one does
    nothing: most objects have no other."""

    async def begin(self) -> None:
        """Raises what fails the start of the replica."""

    def check(self) -> None:
        """Raise what makes the replica unhealthy."""

    async def drain(self, timeout_s: float) -> bool:  # noqa: ARG002
        """Take on nothing new; whether what is under way has ended in time. May be asked twice."""
        return True


async def begin_companion(target: Any, context: ReplicaContext) -> Companion:
    """What the object's class asks for, begun."""
    make = getattr(type(target), COMPANION, None)
    companion: Companion = Companion() if make is None else make(target, context)
    await companion.begin()
    return companion
