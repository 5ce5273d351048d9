"""The caller's side of one connection to one replica."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from salver.calls.call import SENT, Call
from salver.calls.lane import Lane
from salver.core.choice import belief, window_after_answer, window_after_ready
from salver.errors import ReplicaDiedError, SalverError
from salver.spec.status import ReplicaView
from salver.wire.connection import Connection
from salver.wire.frames import (
    CANCEL,
    CHUNK,
    CREDIT,
    END,
    ERR,
    GOAWAY,
    NAME,
    READY,
    REJECT,
    RES,
    STREAM,
    UNNUMBERED,
)

if TYPE_CHECKING:
    from salver.calls.router import Router
    from salver.wire.payload import Segments

__all__ = ("Link",)

_NUMBERED: Final = 1024  # method names, on one connection


class Link:
    """Starts calls on one replica and tells them what comes back. A `wire` FrameHandler.

    `window` is how many calls may be under way here: the replica's limit, or less from the moment
    it turns a call away until its answers show that it has room again. So two callers that share a
    replica come to terms without either of them asking again and again.
    """

    __slots__ = (
        "conn",
        "gone",
        "heeded",
        "inflight",
        "lane",
        "last_id",
        "leaving",
        "limit",
        "name",
        "names",
        "open",
        "others",
        "pending",
        "replica",
        "router",
        "seen",
        "window",
        "worked",
    )

    conn: Connection

    def __init__(self, router: Router, replica: ReplicaView, limit: int, name: str) -> None:
        self.router = router
        self.replica = replica
        self.name = name  # ours, as the replica knows it
        self.limit = limit
        self.window = limit
        self.inflight = 0
        self.others = 0
        self.last_id = 0
        self.seen = 0  # `last_id` when the router looked last
        self.pending: dict[int, Call] = {}
        self.names: dict[str, int] = {"__call__": 0}
        self.open = False  # takes new calls
        self.gone = False  # will take none again
        self.leaving = False  # takes none any more; closes when the last one is done
        self.lane = Lane(self)
        self.heeded = False  # the router hears of every answer: it leaves, or calls wait for it
        self.worked = False  # has answered once

    def __repr__(self) -> str:
        state = "leaving" if self.leaving else "open" if self.open else "closed"
        return f"<Link {self.replica.id} {state} {self.inflight}/{self.window}>"

    # ---- calls out

    def start(self, call: Call) -> None:
        """Send the call. The router has seen that there is room."""
        self.last_id = call_id = self.last_id + 1
        self.pending[call_id] = call
        self.inflight += 1
        call.link = self
        call.call_id = call_id
        call.state = SENT
        call.send(self, call_id)
        if self.inflight == 1:  # the replica has nothing else to do for us
            self.conn.hurry()

    def cancel(self, call: Call) -> None:
        """Forget a call that was sent, and tell the replica to."""
        if self.pending.pop(call.call_id, None) is not None:
            self.inflight -= 1
            self.conn.send(CANCEL, 0, 0, call.call_id)
            if self.router.waiting or self.heeded:
                self.router.freed(self)

    def release(self) -> None:
        """A slot that was kept for a call to come is free again."""
        self.inflight -= 1
        if self.open or self.leaving:
            self.router.freed(self)

    # ---- what has not begun

    def look(self) -> bool:
        """Tell whether a call that was there at the last look has not begun yet."""
        seen, self.seen = self.seen, self.last_id
        if not self.pending:
            return False
        begun = self.conn.begun()
        return begun < seen and any(begun < call_id <= seen for call_id in self.pending)

    def take_back(self) -> list[Call]:
        """Every call that has not begun, and now will not begin here any more.

        The replica gets no others until it shows that it lives.
        """
        begun = self.conn.recall(self.last_id)
        calls = [self.pending.pop(call_id) for call_id in list(self.pending) if call_id > begun]
        self.inflight -= len(calls)
        self.window = min(self.window, self.inflight)
        return calls

    def introduce(self, method: str) -> int:
        """Tell the replica the method of the call that starts now; the number that stands for it.

        The first ones have numbers that stay. Who makes up names without end has each told anew.
        """
        number = len(self.names)
        if number < _NUMBERED:
            self.names[method] = number
            self.conn.send(NAME, 0, number, 0, method.encode())
            return number
        self.conn.send(NAME, 0, UNNUMBERED, self.last_id, method.encode())
        return UNNUMBERED

    def set_limit(self, limit: int) -> None:
        """The replica now works on so many calls at a time."""
        self.window = limit if self.window == self.limit else min(self.window, limit)
        self.limit = limit

    def retire(self) -> None:
        """Start nothing more; close when what runs is done."""
        self.leaving = self.heeded = True
        self.open = False
        self.lane.forsake()
        self.close_if_done()

    def close_if_done(self) -> None:
        if not self.pending and hasattr(self, "conn"):
            self.conn.close("this replica is to take no more calls")

    def abandon(self, error: SalverError) -> None:
        """Fail every call and close: nobody will hear the answers."""
        calls, self.pending = self.pending, {}
        self.inflight = 0
        for call in calls.values():
            call.failed(error)
        self.conn.close("the caller ends")

    # ---- frames in

    def opened(self, conn: Connection) -> None:
        self.conn = conn
        if self.leaving:
            self.close_if_done()
        else:
            self.open = True
            self.router.opened(self)

    def frame(
        self,
        _conn: Connection,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        if type == RES and not flags & STREAM:
            call = self.pending.pop(call_id, None)
            if call is None:
                self._late(aux)
                return
            own = self.inflight = self.inflight - 1
            if aux > own or self.others or self.window < self.limit or not self.worked:
                self._heard(aux, own)
            call.answered(flags, payload)
            router = self.router
            if router.waiting or self.heeded:
                router.freed(self)
        elif type == CHUNK:
            call = self.pending.get(call_id)
            if call is not None:
                call.chunk(flags, payload)
        else:
            self._rare(type, flags, aux, call_id, payload)

    def _rare(
        self,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        if type in (END, ERR, REJECT):
            call = self.pending.pop(call_id, None)
            if call is not None:
                self._over(call, type, flags, aux, payload)
            elif type != REJECT:  # READY comes after that
                self._late(aux)
        elif type in (RES, CREDIT):
            call = self.pending.get(call_id)
            if call is None:
                return
            if type == RES:
                call.answered(flags, payload)
            else:
                call.credit(aux)
        elif type == READY:
            self.window = window_after_ready(self.inflight, aux, self.window, self.limit)
            self.router.freed(self)
        elif type == GOAWAY:
            self.router.leaves(self)

    def _over(
        self,
        call: Call,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        payload: bytes | Segments,
    ) -> None:
        own = self.inflight = self.inflight - 1
        if type == REJECT:
            self.window = min(self.window, own)
            self._believe(belief(aux, own))
            self.router.turned_away(self, call)
            return
        self._heard(aux, own)
        if type == END:
            call.ended(flags)
        else:
            call.errored(payload)
        if self.router.waiting or self.heeded:
            self.router.freed(self)

    def _late(self, under_way: int) -> None:
        """An answer to a call that was cancelled, or taken back: nobody waits for it.

        It shows all the same that the replica lives, and no READY comes for a call that it answered
        without having begun it (one to a method that is not there, say).
        """
        self._heard(under_way, self.inflight)
        if self.router.waiting or self.heeded:
            self.router.freed(self)

    def _heard(self, under_way: int, own: int) -> None:
        """An answer says how many calls the replica has under way."""
        self.worked = True
        self._believe(belief(under_way, own))
        if self.window < self.limit:
            self.window = max(self.window, window_after_answer(own, under_way, self.limit))

    def _believe(self, others: int) -> None:
        self.others = others
        if others:
            self.router.believes = True

    def writable(self, _conn: Connection) -> None:
        """Calls are few enough (`window`) that there is no need to hold any back."""

    def closed(self, conn: Connection, error: Exception | None) -> None:
        """Calls that had not begun go elsewhere; of the others nobody knows how far they came."""
        begun = conn.recall(self.last_id)  # it may live, and be about to begin some
        calls, self.pending = self.pending, {}
        self.open = False
        self.gone = True
        self.inflight = 0
        self.lane.forsake()
        self.router.closed(self, [call for call_id, call in calls.items() if call_id > begun])
        lost = [call for call_id, call in calls.items() if call_id <= begun]
        for call in lost:
            call.failed(ReplicaDiedError(self.replica.id, str(error) if error else ""))
