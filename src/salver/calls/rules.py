"""Other rules than the least loaded replica. A router without one does not ask."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, Protocol

from salver.calls.link import Link
from salver.core.affinity import Placement

if TYPE_CHECKING:
    from salver.calls.call import Call
    from salver.calls.router import Router
    from salver.spec.status import ReplicaFacts

__all__ = ("ModelRule", "Rule")

_AHEAD: Final = 32  # waiting calls that are looked at for one that suits a replica


class Rule(Protocol):
    """Decides for a router. Home loop only."""

    @property
    def link_type(self) -> type[Link]:
        """The links that it wants."""

    @property
    def choosing(self) -> int:
        """Calls in the queue that do not wait for room."""

    def pick(self, call: Call) -> Link | None:
        """Where a call that has just come is to go; None: it waits."""

    def next_for(self, link: Link) -> Call | None:
        """Take the waiting call that this link is to get out of the queue; None: none of them."""

    def learn(self, facts: ReplicaFacts) -> None:
        """A replica says this of itself."""

    def forget(self, replica: str) -> None:
        """The replica is gone."""

    def close(self) -> None:
        """It is not asked any more."""


class ModelRule:
    """Calls for a model go to replicas that hold it; others to the least loaded."""

    link_type = Link
    choosing = 0

    def __init__(self, router: Router) -> None:
        self._router = router
        self._placement = Placement()

    def pick(self, call: Call) -> Link | None:
        model = call.model_id
        if not model:
            return self._router.least_loaded()
        links = self._router.links
        chosen = self._placement.choose(model, [link.replica.id for link in links], links)
        return links[chosen] if chosen >= 0 else None

    def next_for(self, link: Link) -> Call | None:
        queue = self._router.queue
        waiting = list(islice(queue, _AHEAD))
        models = (call.model_id for call in waiting)
        call = waiting[self._placement.next_for(link.replica.id, models)]
        queue.discard(call.ticket)
        return call

    def learn(self, facts: ReplicaFacts) -> None:
        self._placement.learn(facts.replica, facts.models, facts.room)

    def forget(self, replica: str) -> None:
        self._placement.forget(replica)

    def close(self) -> None:
        """Nothing goes on."""
