"""Chooses a replica for each call, in the process where the call starts."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from salver.calls.call import DONE, QUEUED, Call
from salver.calls.custom import CustomRule
from salver.calls.fleet import Fleet
from salver.calls.load import LoadReports
from salver.calls.rules import ModelRule, Rule
from salver.core.admission import Queue
from salver.core.choice import SCAN, cost_a_call, least_loaded, of_two
from salver.errors import BackPressureError, DeploymentUnavailableError
from salver.spec.ids import DeploymentId
from salver.spec.status import DeploymentView, ReplicaFacts

if TYPE_CHECKING:
    from salver.calls.cluster import Cluster
    from salver.calls.link import Link
    from salver.spec.routing import RequestRouterConfig

__all__ = ("Router", "RouterStats")


_PATIENCE_S: Final = 0.01  # between two looks; what has not begun after one to two is taken back


@dataclass(frozen=True, slots=True)
class RouterStats:
    """A router at one moment."""

    replicas: int  # that take calls
    queued: int
    inflight: int
    calls: int = 0  # that were ever submitted


class Router:
    """Gives calls to the replicas of one deployment; the excess waits here, longest first.

    While a call waits no replica has room: whatever makes room gives it to the longest waiter at
    once. So nothing is asked twice, and there is no timer here but one: while calls are under way
    at several replicas, those that one of them does not begin are given to another (`_look`).
    """

    __slots__ = (
        "__weakref__",
        "_routing",
        "_ticket",
        "_turn",
        "_used",
        "_watch",
        "believes",
        "cluster",
        "deployment",
        "fleet",
        "gone",
        "links",
        "queue",
        "reports",
        "rule",
        "waiting",
    )

    def __init__(self, deployment: DeploymentId, cluster: Cluster, *, eager: bool = False) -> None:
        self.deployment = deployment
        self.cluster = cluster
        self.waiting = 0  # len(self.queue), where it is cheap to look at
        self.believes = False  # some link believes that others have calls under way there
        self.queue: Queue[Call] = Queue()
        self.rule: Rule | None = None  # None: the least loaded replica
        self._routing: RequestRouterConfig | None = None  # where users have asked for a rule
        self.gone = ""  # why no call will ever be served
        self.fleet = Fleet(self)
        self.links = self.fleet.open  # those that take calls
        self._ticket = 0
        self._turn = 0
        self._used = eager
        self._watch: asyncio.TimerHandle | None = None
        self.reports: LoadReports | None = None  # of the load here, where anybody wants them

    # ---- calls

    def submit(self, call: Call) -> None:
        """Send the call to a replica now, or when a slot is free. Home loop only.

        A call that cannot be taken is told so by `call.failed(error)`, perhaps at once.
        """
        call.router = self
        call.ticket = self._ticket = self._ticket + 1
        rule, link = self.rule, None
        if rule is not None:
            link = rule.pick(call)
        elif not self.waiting:
            link = self.least_loaded()
        if link is not None:
            link.start(call)
            if rule is not None:
                self._look_later()
        elif call.state == QUEUED:
            self._wait(call)

    def cancel(self, call: Call) -> None:
        """Drop the call, wherever it is. It is told nothing further; harmless when it is done."""
        state, call.state = call.state, DONE
        if state == QUEUED:
            if self.queue.discard(call.ticket):
                self.waiting -= 1
        elif state != DONE and call.link is not None:
            call.link.cancel(call)

    def least_loaded(self) -> Link | None:
        """The replica for an ordinary call; None: none has room."""
        links = self.links
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
        if self.gone:
            call.failed(DeploymentUnavailableError(self.deployment, self.gone))
            return
        if not self._used or self.fleet.incomplete:
            self._used = True  # a replica that could not be dialled is, now that it is needed
            self.fleet.dial()
        view = self.fleet.view
        spare = self.fleet.spare + (self.rule.choosing if self.rule is not None else 0)
        if view is not None and not self.queue.admits(spare):
            call.failed(_full(view, self.waiting - spare))
            return
        self.queue.push(call.ticket, call)
        self.waiting += 1
        if self.reports is not None:
            self.reports.hurry()

    def _put_back(self, call: Call) -> None:
        """A call that no replica has begun waits again, in front."""
        if call.state == DONE:
            return
        if not call.ticket and call.link is not None:
            call.link.lane.wait(call, first=True)
            return
        call.state = QUEUED
        call.link = None
        if self.gone:
            call.failed(DeploymentUnavailableError(self.deployment, self.gone))
            return
        self.queue.put_back(call.ticket, call)
        self.waiting += 1
        if self.reports is not None:
            self.reports.hurry()

    def _wake(self) -> None:
        """Give every free slot to the longest waiter."""
        if self.rule is not None:
            for each in list(self.links):
                self.freed(each)
            return
        while self.waiting:
            link = self.least_loaded()
            if link is None or not self._start_next(link):
                return

    def _start_next(self, link: Link) -> bool:
        """Give the link a call that waits; False: none of them is for it."""
        rule = self.rule
        call = self.queue.pop() if rule is None else rule.next_for(link)
        if call is None:
            return False
        self.waiting -= 1
        link.start(call)
        return True

    def start_waiting(self, call: Call, link: Link) -> None:
        """Send a call that waits; there is room."""
        if self.queue.discard(call.ticket):
            self.waiting -= 1
            link.start(call)

    def _look(self) -> None:
        """Give to others what a replica has had for a while and has not begun."""
        self._watch = None
        calls = _take_back(self.links)
        for call in calls:
            self._put_back(call)
        if calls:
            self._wake()
        self._look_later()

    def _look_later(self) -> None:
        links = self.links
        if self._watch is None and len(links) > 1 and any(link.pending for link in links):
            self._watch = self.cluster.loop.call_later(_PATIENCE_S, self._look)

    # ---- what links report

    def freed(self, link: Link) -> None:
        """The link has room: an answer, READY, or a cancelled call."""
        if link.leaving:
            link.close_if_done()
            return
        if link.lane:
            link.lane.serve()
        while self.waiting and link.open and link.inflight < link.window:
            if not self._start_next(link):
                return

    def turned_away(self, link: Link, call: Call) -> None:
        """The replica is full and has not begun the call: another may take it."""
        self._put_back(call)
        if link.leaving:
            link.close_if_done()
        self._wake()

    def opened(self, link: Link) -> None:
        """The link takes calls."""
        self.fleet.opened(link)
        link.lane.serve()
        self._wake()
        self._look_later()

    def leaves(self, link: Link) -> None:
        """The replica drains: it finishes what it has and is sent nothing more."""
        self._turn = 0
        self.fleet.leaves(link)

    def closed(self, link: Link, unbegun: list[Call]) -> None:
        """The link is no more; these of its calls had not begun."""
        self._turn = 0
        self.fleet.closed(link)
        for call in unbegun:
            self._put_back(call)
        self._wake()

    # ---- what the directory tells

    def update(self, view: DeploymentView) -> None:
        """The deployment is now like this."""
        first = self.fleet.view is None
        self.queue.limit = view.max_queued_requests
        if view.gone:
            self.give_up(view.gone)
            return
        self.gone = ""
        self._turn = 0
        if view.routing != self._routing:
            self._go_by(view.routing)
        self.fleet.follow(view)
        if self._used:
            self.fleet.dial()
        self._wake()
        if first and self.waiting:
            self._shed(view)

    def _go_by(self, routing: RequestRouterConfig | None) -> None:
        """Choose by this rule from now on."""
        self._routing = routing
        if self.rule is not None:
            self.rule.close()
        self.rule = CustomRule(self, routing) if routing is not None else None
        self.fleet.retire()  # other links are made: the new rule may want other ones
        for facts in self.cluster.directory.facts_of(self.deployment):
            self.learn(facts)

    def learn(self, facts: ReplicaFacts) -> None:
        """A replica says this of itself."""
        if self.rule is None and facts.room:
            self.rule = ModelRule(self)
            for known in self.cluster.directory.facts_of(self.deployment):
                self.rule.learn(known)
        if self.rule is not None:
            self.rule.learn(facts)
            self._wake()  # that may be what a call waits for

    def forget(self, replica: str) -> None:
        """What a replica said of itself is void: it is gone."""
        if self.rule is not None:
            self.rule.forget(replica)

    def _shed(self, view: DeploymentView) -> None:
        """Refuse calls that came before the bound of the queue was known, and are too many."""
        for call in self.queue.shed(self.fleet.spare):
            self.waiting = len(self.queue)
            call.failed(_full(view, self.waiting - self.fleet.spare))

    def give_up(self, why: str) -> None:
        """No call will be served any more: those that wait fail, those that run may finish."""
        self.gone = why
        self._turn = 0
        self.fleet.retire()
        calls = self.queue.drain()
        self.waiting = 0
        for call in calls:
            call.failed(DeploymentUnavailableError(self.deployment, why))

    def close(self, why: str) -> None:
        """Fail what waits and cut every link."""
        self.give_up(why)
        if self.rule is not None:
            self.rule.close()
        self.fleet.abandon(DeploymentUnavailableError(self.deployment, why))
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def every_link(self) -> list[Link]:
        """The links to all replicas, made where there are none yet."""
        self._used = True
        self.fleet.dial()
        return list(self.fleet.known.values())

    def metadata_of(self, replica: str) -> dict[str, Any]:
        """What the replica's `record_replica_metadata` returned."""
        said = self.cluster.directory.facts_of(self.deployment)
        return next((facts.metadata for facts in said if facts.replica == replica), {})

    def stats(self) -> RouterStats:
        return RouterStats(len(self.links), self.waiting, self.fleet.inflight, self._ticket)


def _take_back(links: list[Link]) -> list[Call]:
    """Take back what a replica has had since the last look and has not begun: it is held up.

    Only when another begins what it gets, and has room: where all are held up nothing is gained.
    The rule of `begun` holds: what has begun stays where it is.
    """
    stuck = [link for link in links if link.look()]
    others = [link for link in links if link not in stuck]
    if stuck and any(link.inflight < link.window for link in others):
        return [call for link in stuck for call in link.take_back()]
    return []


def _doubt(links: list[Link], chosen: Link) -> bool:
    """Take one off each belief that has just cost its replica a call; whether any is left."""
    believes = False
    for link in links:
        if link is not chosen and cost_a_call(link, chosen):
            link.others -= 1
        if link.others:
            believes = True
    return believes


def _full(view: DeploymentView, queued: int) -> BackPressureError:
    """Calls that wait only until a link is made, whose slots are theirs, are not `queued`."""
    answer = view.backpressure
    limit = view.max_queued_requests
    return BackPressureError(queued, limit, answer.status_code, answer.retry_after_s)
