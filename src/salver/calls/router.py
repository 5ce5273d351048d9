"""Chooses a replica for each call, in the process where the call starts."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from salver.calls.call import DONE, QUEUED, Call
from salver.calls.link import Link
from salver.core.admission import Queue
from salver.core.choice import SCAN, cost_a_call, least_loaded, of_two
from salver.errors import BackPressureError, DeploymentUnavailableError, WireError
from salver.spec.ids import DeploymentId
from salver.spec.status import DeploymentView, ReplicaView

if TYPE_CHECKING:
    from salver.calls.cluster import Cluster

__all__ = ("Router", "RouterStats")


_PATIENCE_S: Final = 0.01  # between two looks; what has not begun after one to two is taken back
_BUSY_S: Final = 1.0  # a dial that failed after so long was not refused: the replica was busy


@dataclass(frozen=True, slots=True)
class RouterStats:
    """A router at one moment."""

    replicas: int  # that take calls
    queued: int
    inflight: int


class Router:
    """Gives calls to the replicas of one deployment; the excess waits here, longest first.

    While a call waits no replica has room: whatever makes room gives it to the longest waiter at
    once. So nothing is asked twice, and there is no timer here but one: while calls are under way
    at several replicas, those that one of them does not begin are given to another (`_look`).
    """

    __slots__ = (
        "_dials",
        "_gone",
        "_leaving",
        "_links",
        "_open",
        "_queue",
        "_ticket",
        "_turn",
        "_used",
        "_view",
        "_watch",
        "believes",
        "cluster",
        "deployment",
        "waiting",
    )

    def __init__(self, deployment: DeploymentId, cluster: Cluster, *, eager: bool = False) -> None:
        self.deployment = deployment
        self.cluster = cluster
        self.waiting = 0  # len(self._queue), where it is cheap to look at
        self.believes = False  # some link believes that others have calls under way there
        self._queue: Queue[Call] = Queue()
        self._view: DeploymentView | None = None
        self._gone = ""  # why no call will ever be served
        self._links: dict[str, Link] = {}  # by replica: those of the view, perhaps still dialling
        self._open: list[Link] = []  # those that take calls
        self._leaving: set[Link] = set()
        self._dials: dict[Link, asyncio.Task[None]] = {}
        self._ticket = 0
        self._turn = 0
        self._used = eager
        self._watch: asyncio.TimerHandle | None = None

    # ---- calls

    def submit(self, call: Call) -> None:
        """Send the call to a replica now, or when a slot is free. Home loop only.

        A call that cannot be taken is told so by `call.failed(error)`, perhaps at once.
        """
        call.router = self
        call.ticket = self._ticket = self._ticket + 1
        if not self.waiting:
            link = self._pick()
            if link is not None:
                link.start(call)
                return
        self._wait(call)

    def cancel(self, call: Call) -> None:
        """Drop the call, wherever it is. It is told nothing further; harmless when it is done."""
        state, call.state = call.state, DONE
        if state == QUEUED:
            if self._queue.discard(call.ticket):
                self.waiting -= 1
        elif state != DONE and call.link is not None:
            call.link.cancel(call)

    def _pick(self) -> Link | None:
        links = self._open
        count = len(links)
        if count == 1:
            link = links[0]
            return link if link.inflight < link.window else None
        if self._watch is None and count:
            self._watch = self.cluster.loop.call_later(_PATIENCE_S, self._look)
        if count > SCAN:
            chosen, other = of_two(links, random.random)
            if chosen < 0:
                return None
            link = links[chosen]
            if cost_a_call(links[other], link):
                links[other].others -= 1
            return link
        chosen = least_loaded(links, self._turn)
        if chosen < 0:
            return None
        link = links[chosen]
        self._turn = chosen + 1 if chosen + 1 < count else 0
        if self.believes:
            self.believes = _doubt(links, link)
        return link

    def _wait(self, call: Call) -> None:
        if self._gone:
            call.failed(DeploymentUnavailableError(self.deployment, self._gone))
            return
        view = self._view
        if not self._used or (view is not None and len(self._links) < len(view.replicas)):
            self._used = True  # a replica that could not be dialled is, now that it is needed
            self._dial()
        if view is not None:
            # Links that are being made are slots that will be free in a moment.
            spare = len(self._dials) * view.max_ongoing_requests
            if not self._queue.admits(spare):
                call.failed(_full(view, self.waiting))
                return
        self._queue.push(call.ticket, call)
        self.waiting += 1

    def _put_back(self, call: Call) -> None:
        """A call that no replica has begun waits again, in front."""
        if call.state == DONE:
            return
        call.state = QUEUED
        call.link = None
        if self._gone:
            call.failed(DeploymentUnavailableError(self.deployment, self._gone))
            return
        self._queue.put_back(call.ticket, call)
        self.waiting += 1

    def _wake(self) -> None:
        """Give every free slot to the longest waiter."""
        while self.waiting:
            link = self._pick()
            if link is None:
                return
            self._start_next(link)

    def _start_next(self, link: Link) -> None:
        call = self._queue.pop()
        self.waiting -= 1
        assert call is not None  # noqa: S101 - `waiting` counts the queue
        link.start(call)

    def _look(self) -> None:
        """Take back what a replica has had for a while and has not begun: its loop is held up.

        Only when another begins what it gets, and has room: where all are held up nothing is
        gained. The rule of `begun` holds: what has begun stays where it is.
        """
        self._watch = None
        stuck = [link for link in self._open if link.look()]
        others = [link for link in self._open if link not in stuck]
        if stuck and any(link.inflight < link.window for link in others):
            for link in stuck:
                for call in link.take_back():
                    self._put_back(call)
            self._wake()
        self._look_later()

    def _look_later(self) -> None:
        links = self._open
        if self._watch is None and len(links) > 1 and any(link.pending for link in links):
            self._watch = self.cluster.loop.call_later(_PATIENCE_S, self._look)

    # ---- what links report

    def freed(self, link: Link) -> None:
        """The link has room: an answer, READY, or a cancelled call."""
        if link.leaving:
            link.close_if_done()
            return
        while self.waiting and link.open and link.inflight < link.window:
            self._start_next(link)

    def turned_away(self, link: Link, call: Call) -> None:
        """The replica is full and has not begun the call: another may take it."""
        self._put_back(call)
        if link.leaving:
            link.close_if_done()
        self._wake()

    def opened(self, link: Link) -> None:
        """The link takes calls."""
        self._dials.pop(link, None)
        self._open.append(link)
        self._wake()
        self._look_later()

    def leaves(self, link: Link) -> None:
        """The replica drains: it finishes what it has and is sent nothing more."""
        if link.leaving:
            return
        self._leaving.add(link)
        self._shut(link)
        link.retire()

    def closed(self, link: Link, unbegun: list[Call]) -> None:
        """The link is no more; these of its calls had not begun."""
        self._shut(link)
        self._leaving.discard(link)
        if self._links.get(link.replica.id) is link:
            del self._links[link.replica.id]
            # A replica that is still there, and did answer, gets a new link: the connection broke.
            # Otherwise it is for the controller to say that it is back.
            if link.worked and not link.leaving and not self._gone:
                self._dial()
        for call in unbegun:
            self._put_back(call)
        self._wake()

    def _shut(self, link: Link) -> None:
        if link in self._open:
            self._open.remove(link)
            self._turn = 0

    # ---- what the directory tells

    def update(self, view: DeploymentView) -> None:
        """The deployment is now like this."""
        first = self._view is None
        self._view = view
        self._queue.limit = view.max_queued_requests
        if view.gone:
            self.give_up(view.gone)
            return
        self._gone = ""
        replicas = {replica.id: replica for replica in view.replicas}
        for link in list(self._links.values()):
            link.set_limit(view.max_ongoing_requests)
            if replicas.get(link.replica.id) != link.replica:
                self._retire(link)
        if self._used:
            self._dial()
        self._wake()
        if first and self.waiting:
            self._shed(view)

    def _shed(self, view: DeploymentView) -> None:
        """Refuse calls that came before the bound of the queue was known, and are too many."""
        for call in self._queue.shed(len(self._dials) * view.max_ongoing_requests):
            self.waiting -= 1
            call.failed(_full(view, self.waiting))

    def give_up(self, why: str) -> None:
        """No call will be served any more: those that wait fail, those that run may finish."""
        self._gone = why
        for link in list(self._links.values()):
            self._retire(link)
        calls = self._queue.drain()
        self.waiting = 0
        for call in calls:
            call.failed(DeploymentUnavailableError(self.deployment, why))

    def _retire(self, link: Link) -> None:
        del self._links[link.replica.id]
        dial = self._dials.pop(link, None)
        if dial is not None:
            dial.cancel()
        self.leaves(link)
        if dial is not None:
            self._leaving.discard(link)

    def close(self, why: str) -> None:
        """Fail what waits and cut every link."""
        self.give_up(why)
        for link in list(self._leaving):
            link.abandon(DeploymentUnavailableError(self.deployment, why))
        self._leaving.clear()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def stats(self) -> RouterStats:
        links = [*self._open, *self._leaving]
        return RouterStats(len(self._open), self.waiting, sum(link.inflight for link in links))

    # ---- links

    def _dial(self) -> None:
        """Make a link to each replica of the view that has none."""
        view = self._view
        if view is None or self._gone:
            return
        for replica in view.replicas:
            if replica.id not in self._links:
                link = Link(self, replica, view.max_ongoing_requests, self.cluster.next_name())
                self._links[replica.id] = link
                self._dials[link] = self.cluster.loop.create_task(self._connect(link, replica))

    async def _connect(self, link: Link, replica: ReplicaView) -> None:
        loop = self.cluster.loop
        started = loop.time()
        try:
            await self.cluster.dial(replica.address, link, link.name)
        except (OSError, WireError):
            # Nobody there: the controller will say so, and a call that finds no replica at all
            # tries once more. Nobody answered for long: it is busy, and may answer yet.
            self._dials.pop(link, None)
            if self._links.get(replica.id) is link:
                del self._links[replica.id]
                if loop.time() - started > _BUSY_S:
                    self._dial()
        finally:
            self._dials.pop(link, None)


def _doubt(links: list[Link], chosen: Link) -> bool:
    """Take one off each belief that has just cost its replica a call; whether any is left."""
    believes = False
    for link in links:
        if link is not chosen and cost_a_call(link, chosen):
            link.others -= 1
        if link.others:
            believes = True
    return believes


def _full(view: DeploymentView, waiting: int) -> BackPressureError:
    answer = view.backpressure
    limit = view.max_queued_requests
    return BackPressureError(waiting, limit, answer.status_code, answer.retry_after_s)
