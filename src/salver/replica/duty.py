"""What a replica's object does besides answering calls, for as long as it lives."""

from __future__ import annotations

from typing import Any, Final

from salver.replica.context import ReplicaContext

__all__ = ("DUTY", "Duty", "begin_duty")

# The attribute of a class that makes its objects' duties: called with the object and context.
DUTY: Final = "__salver_duty__"


class Duty:
    """Begins when the object is there and configured; is drained as its calls are. This one does
    nothing: most objects have no other."""

    async def begin(self) -> None:
        """Raises what fails the start of the replica."""

    def check(self) -> None:
        """Raise what makes the replica unhealthy."""

    async def drain(self, timeout_s: float) -> bool:  # noqa: ARG002
        """Take on nothing new; whether what is under way has ended in time. May be asked twice."""
        return True


async def begin_duty(target: Any, context: ReplicaContext) -> Duty:
    """What the object's class asks for, begun."""
    make = getattr(type(target), DUTY, None)
    duty: Duty = Duty() if make is None else make(target, context)
    await duty.begin()
    return duty
