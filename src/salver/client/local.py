"""Calls of an instance of this user on this machine: the same requests, by its own wire.

They leave as an ingress would send them, so a replica reads the same bytes and answers the same;
only that bodies lie in shared memory, and no HTTP server is in between. What cannot go this way is
told by `None`, and goes by HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from salver.calls.cluster import Cluster
from salver.client.deadline import Deadline
from salver.client.http import Reply, Request, split_head
from salver.client.rim import Rim
from salver.doors.errors import in_json
from salver.doors.head import Head, HeadError, Names, parse_head
from salver.doors.http import HttpCall
from salver.doors.models import ModelTable
from salver.doors.oip import ProtocolRoute
from salver.engine.doorplate import DoorPlate, find_instance
from salver.errors import SalverError
from salver.oip.errors import ModelNotFoundError
from salver.spec.refusals import refusal
from salver.spec.status import ModelView
from salver.wire.frames import LARGE
from salver.wire.payload import Segments

__all__ = ("LocalInstance",)

_LISTEN_S: Final = 5.0  # for the controller to say which models there are
_HEADS: Final = 256


class LocalInstance:
    """The link to one instance. Used from any thread; its calls run on the cluster's loop."""

    def __init__(self, cluster: Cluster, plate: DoorPlate) -> None:
        self._cluster = cluster
        self._models = ModelTable()
        self._heads: dict[bytes, Head] = {}
        self._door = _Door()
        self._names = Names(plate.session_id_header)
        self.root_path = plate.root_path

    @classmethod
    async def find(
        cls, peer: tuple[str, int], rim: Rim, deadline: Deadline
    ) -> LocalInstance | None:
        """The instance that answers there, if it is this user's; None: it is not."""
        try:
            found = find_instance(*peer)
            if found is None:
                return None
            directory, plate = found
            local = cls(Cluster.apart(directory), plate)
        except (SalverError, OSError):  # it has just ended, or nothing more can be opened here
            return None
        try:
            await rim.wait(local._begin, deadline)
        except BaseException:
            local.close()
            raise
        return local

    def _begin(self, done: Callable[[], None]) -> None:
        """Follow the instance's models; `done` when they are known, or will not be."""

        def learn(views: tuple[ModelView, ...]) -> None:
            self._models = ModelTable(views, self._cluster.router)
            done()

        def follow(_: object) -> None:
            self._cluster.directory.on_models(learn)
            self._cluster.loop.call_later(_LISTEN_S, done)

        self._cluster.post(follow, None)

    @property
    def closed(self) -> bool:
        """Whether the instance has ended."""
        return self._cluster.closed

    def route_of(self, model: str, version: str) -> ProtocolRoute | None:
        """The way to a model; None: HTTP says what is to be said of it."""
        try:
            found = self._models.find(model, version)
        except ModelNotFoundError:
            return None
        if found.view.withheld:
            return None
        deployment = found.view.deployment
        return ProtocolRoute("", deployment.app, deployment, found.router)

    async def exchange(
        self, request: Request, route: ProtocolRoute, rim: Rim, deadline: Deadline
    ) -> Reply | None:
        """The answer; None: this request must go by HTTP."""
        head = self._head(request.head, route)
        if head is None or self._cluster.closed:
            return None
        exchange = _Exchange(self._cluster, self._door, head, request)
        try:
            await rim.wait(exchange.begin, deadline)
        except BaseException:
            if not self._cluster.closed:
                self._cluster.post(_Exchange.give_up, exchange)
            raise
        return exchange.reply()

    def _head(self, raw: bytes, route: ProtocolRoute) -> Head | None:
        head = self._heads.get(raw)
        if head is None:
            try:
                head = parse_head(raw, names=self._names)
            except HeadError:
                return None
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[raw] = head
        head.route = route
        return head

    def close(self) -> None:
        """End the link and its thread."""
        self._cluster.close()


class _Door:
    """What calls want to know of the door that they came by."""

    def __init__(self) -> None:
        self.draining = False
        self.in_flight = 0

    def reroute(self, call: HttpCall, _error: BaseException) -> None:
        """Its deployment is gone and it has not begun: by HTTP it finds whoever answers now."""
        call.cancel()
        cast("_Exchange", call.conn).go_by_http()


class _Exchange:
    """One request. It is to `HttpCall` what a client's connection is at an ingress."""

    client = b""
    blocked = False

    def __init__(self, cluster: Cluster, door: _Door, head: Head, request: Request) -> None:
        self._cluster = cluster
        self.door = door
        self._request = request
        self._head = head
        self._done: Callable[[], None] = lambda: None
        self._payload: bytes | Segments = b""
        self._error: BaseException | None = None
        self._by_http = False
        self.call: HttpCall | None = None

    def begin(self, done: Callable[[], None]) -> None:
        """Send it; `done` when the answer is there."""
        self._done = done
        self._cluster.post(_Exchange._submit, self)

    def _submit(self) -> None:
        parts, head = self._request.parts, self._head
        size = sum(len(part) for part in parts)
        slab = self._cluster.dialler.arena.lend(size) if size >= LARGE else None
        payload = head.raw
        if slab is None:
            payload = b"".join((payload, *parts))
        else:
            at = 0
            for part in parts:
                slab.view[at : at + len(part)] = part
                at += len(part)
        self.door.in_flight += 1
        self.call = HttpCall(cast("Any", self), head, payload, slab)
        route = cast("ProtocolRoute", head.route)
        route.router.submit(self.call)

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        if self.call is not None:
            self.call.cancel()
            self.call = None

    # ---- what a connection is asked by its call

    def replied(self, _head: Head, _flags: int, payload: bytes | Segments) -> None:
        """The whole answer is there."""
        self._payload = payload
        self._end()

    def call_failed(self, _call: HttpCall, error: BaseException) -> None:
        """There will be none."""
        self._error = error
        self._end()

    def go_by_http(self) -> None:
        """There will be none here."""
        self._by_http = True
        self._end()

    def _end(self) -> None:
        self.call = None
        self._done()

    # ---- the answer

    def reply(self) -> Reply | None:
        """As it would have come by HTTP; None: it must go there."""
        if self._by_http:
            return None
        if self._error is not None:
            status, text, more = refusal(self._error)
            headers = {name.lower(): value for name, value in more}
            return Reply(status, headers, (memoryview(in_json(text).encode()),))
        payload, self._payload = self._payload, b""  # lent: nobody holds it longer than the arrays
        inline = payload if isinstance(payload, bytes) else payload.inline
        end = inline.index(b"\r\n\r\n")
        status, headers = split_head(inline[:end])
        buffers = [] if isinstance(payload, bytes) else payload.buffers
        return Reply(status, headers, (memoryview(inline)[end + 4 :], *buffers))
