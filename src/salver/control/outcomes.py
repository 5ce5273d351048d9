"""What becomes of replicas: counted among their deployment's failures, and told as events."""

from __future__ import annotations

from collections.abc import Callable

from salver.control.events import Events
from salver.control.members import App, Member
from salver.core.failures import Failures

__all__ = ("Outcomes",)


class Outcomes:
    """The deployment's status says why; `reconcile` goes by the numbers."""

    def __init__(self, events: Events, clock: Callable[[], float]) -> None:
        self._events = events
        self._clock = clock

    def started(self, app: App, member: Member) -> None:
        """It serves."""
        app.learn(member, Failures.started)
        self._events.emit(member.replica.id, "RUNNING")

    def start_failed(self, app: App, member: Member, message: str) -> None:
        """It will never serve, or not as it should."""
        now = self._clock()
        app.learn(member, lambda failures: failures.start_failed(now, message))
        self._events.emit(member.replica.id, "FAILED", message)

    def gave_up(self, app: App, member: Member, message: str) -> None:
        """Nor will another be tried."""
        app.learn(member, lambda failures: failures.give_up(message))
        self._events.emit(member.replica.id, "FAILED", message)

    def fell(self, app: App, member: Member, what: str, why: str) -> None:
        """It served, and does so no more."""
        now, since = self._clock(), member.replica.since
        message = f"Replica {member.replica.id} {what}: {why}"
        app.learn(member, lambda failures: failures.died(now, message, now - since))
        self._events.emit(member.replica.id, what.removeprefix("is ").upper(), why)
