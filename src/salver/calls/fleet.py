"""The links of one router: to which replicas there are any, and which of them take calls."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from salver.calls.link import Link
from salver.errors import SalverError, WireError

if TYPE_CHECKING:
    from salver.calls.router import Router
    from salver.spec.status import DeploymentView

__all__ = ("Fleet",)

_BUSY_S: Final = 1.0  # a dial that failed after so long was not refused: the replica was busy


class Fleet:
    """Follows the view of a deployment. Home loop only; the router says what follows for calls."""

    __slots__ = ("_dials", "_leaving", "_router", "known", "open", "view")

    def __init__(self, router: Router) -> None:
        self._router = router
        self.view: DeploymentView | None = None
        self.known: dict[str, Link] = {}  # by replica: those of the view, perhaps still dialling
        self.open: list[Link] = []  # those that take calls
        self._leaving: set[Link] = set()
        self._dials: dict[Link, asyncio.Task[None]] = {}

    @property
    def spare(self) -> int:
        """Slots that will be free in a moment: of the links that are being made."""
        return len(self._dials) * self.view.max_ongoing_requests if self.view is not None else 0

    @property
    def incomplete(self) -> bool:
        """Whether a replica has no link."""
        return self.view is not None and len(self.known) < len(self.view.replicas)

    @property
    def inflight(self) -> int:
        return sum(link.inflight for link in (*self.open, *self._leaving))

    # ---- what the router tells

    def follow(self, view: DeploymentView) -> None:
        """These are the replicas now: links to others take nothing more."""
        self.view = view
        replicas = {replica.id: replica for replica in view.replicas}
        for link in list(self.known.values()):
            link.set_limit(view.max_ongoing_requests)
            if replicas.get(link.replica.id) != link.replica:
                self._retire(link)

    def retire(self) -> None:
        """There are no replicas, and will be none: what runs may finish."""
        self.view = None
        for link in list(self.known.values()):
            self._retire(link)

    def abandon(self, error: SalverError) -> None:
        """Cut every link."""
        for link in list(self._leaving):
            link.abandon(error)
        self._leaving.clear()

    def dial(self) -> None:
        """Make a link to each replica that has none."""
        view, router = self.view, self._router
        for replica in view.replicas if view is not None else ():
            if view is not None and replica.id not in self.known:
                name = router.cluster.next_name()
                kind = Link if router.rule is None else router.rule.link_type
                link = kind(router, replica, view.max_ongoing_requests, name)
                self.known[replica.id] = link
                self._dials[link] = router.cluster.loop.create_task(self._connect(link))

    # ---- what links tell

    def opened(self, link: Link) -> None:
        """The link takes calls."""
        self._dials.pop(link, None)
        self.open.append(link)

    def leaves(self, link: Link) -> None:
        """The replica drains: it finishes what it has and is sent nothing more."""
        if not link.leaving:
            self._leaving.add(link)
            self._shut(link)
            link.retire()

    def closed(self, link: Link) -> None:
        """The link is no more.

        A replica that is still there, and did answer, gets a new one: the connection broke.
        Otherwise it is for the controller to say that it is back.
        """
        self._shut(link)
        self._leaving.discard(link)
        if self.known.get(link.replica.id) is link:
            del self.known[link.replica.id]
            if link.worked and not link.leaving:
                self.dial()

    def _shut(self, link: Link) -> None:
        if link in self.open:
            self.open.remove(link)

    def _retire(self, link: Link) -> None:
        del self.known[link.replica.id]
        dial = self._dials.pop(link, None)
        if dial is not None:
            dial.cancel()
        self.leaves(link)
        if dial is not None:
            self._leaving.discard(link)

    async def _connect(self, link: Link) -> None:
        cluster = self._router.cluster
        started = cluster.loop.time()
        try:
            await cluster.dial(link.replica.address, link, link.name)
        except (OSError, WireError):
            # Nobody there: the controller will say so, and a call that finds no replica at all
            # tries once more. Nobody answered for long: it is busy, and may answer yet.
            self._dials.pop(link, None)
            link.gone = True
            link.lane.forsake()
            if self.known.get(link.replica.id) is link:
                del self.known[link.replica.id]
                if cluster.loop.time() - started > _BUSY_S:
                    self.dial()
            for other in list(self.open):  # calls may have waited to know of all replicas
                self._router.freed(other)
        finally:
            self._dials.pop(link, None)
