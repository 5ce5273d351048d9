"""The HTTP door of one process: what all its connections share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec

from salver.calls.call import QUEUED
from salver.calls.context import request_ids
from salver.doors.connection import Connection
from salver.doors.errors import say_close
from salver.doors.hangups import Hangups
from salver.doors.head import Head, Names, parse_head
from salver.doors.inference import Ask, InferenceServer, nobody_to_ask
from salver.doors.mount import mount
from salver.doors.oip import OpenInference
from salver.doors.protocol import HttpProtocol
from salver.doors.routes import Route, RouteTable
from salver.doors.wheel import TimerWheel
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.status import ModelView, RouteView

if TYPE_CHECKING:
    from salver.calls.cluster import Cluster
    from salver.calls.router import Router
    from salver.doors.http import HttpCall
    from salver.wire.arena import Slab
    from salver.wire.payload import Segments

__all__ = ("DoorStats", "HttpDoor")

# So much of a large body, at most, is read along with its head, and copied.
_SCRATCH: Final = 32 * 1024
_HEADS: Final = 1024  # heads that are remembered, each up to:
_HEAD_SIZE: Final = 1024
_OWN: Final = ("/-/healthz", "/-/routes", "/-/metrics")
_NUMBERS: Final = ("/-/metrics", "/metrics")  # the latter where no app has it
_DRAINING: Final = "This node is being drained."
_UNROUTED: Final = "Route table is not populated yet."
_NOT_UP: Final = "No replicas are available yet."


@dataclass(frozen=True, slots=True)
class DoorStats:
    """A door at one moment."""

    connections: int
    requests: int
    in_flight: int
    by_class: tuple[int, ...]  # replies by the first digit of their status


class HttpDoor:
    """Makes a protocol for each connection.

    `lend` gives slabs of shared memory, or None; `numbers` is the page of metrics, where there is
    one.
    """

    def __init__(
        self,
        settings: HttpSettings,
        loop: asyncio.AbstractEventLoop,
        router_of: Callable[[DeploymentId], Router],
        lend: Callable[[int], Slab | None] = lambda _size: None,
        numbers: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self.settings = settings
        self._names = Names(settings.session_id_header)
        self._loop = loop
        self.now = loop.time
        self.lend = lend
        self.wheel = TimerWheel(loop.time, loop.call_at)
        self.hangups = Hangups(loop)
        # One for all: what is read is taken out of it before anything else is read.
        self.scratch = memoryview(bytearray(_SCRATCH))
        self.heads: dict[bytes, Head] = {}
        self.keep_alive_s = settings.keep_alive_timeout_s
        self.limits_time = (settings.request_timeout_s or 0) > 0
        self.draining = False
        self.requests = 0
        self.in_flight = 0
        self.by_class = [0] * 10
        self.access: Callable[[Head | None, int, str], None] | None = None
        self.new_request_id = request_ids("door")
        self._router_of = router_of
        self._numbers = numbers
        self._table: RouteTable | None = None
        self._views: tuple[RouteView, ...] | None = None
        self._protocols: OpenInference | None = None
        self._has_models = False
        self._is_up: Callable[[], bool] = lambda: True
        self._has_routed = False  # ever
        self._connections: set[Connection] = set()
        self._empty: asyncio.Event | None = None
        self._routed = asyncio.Event()

    @classmethod
    def of(
        cls,
        cluster: Cluster,
        settings: HttpSettings,
        numbers: Callable[[], Awaitable[str]] | None = None,
        ask: Ask = nobody_to_ask,
    ) -> HttpDoor:
        """The door to a cluster: it follows the cluster's routes."""
        door = cls(
            settings,
            cluster.loop,
            lambda deployment: cluster.router(deployment, eager=True),
            cluster.dialler.arena.lend,
            numbers,
        )
        inference = InferenceServer(
            cluster.directory.views.get,
            ask,
            lambda: door.draining or not door._is_up(),
            shares_memory=settings.system_shared_memory,
        )
        door._is_up = lambda: cluster.directory.up
        door.new_request_id = cluster.new_request_id
        door._protocols = OpenInference(cluster.loop, inference, door._router_of)
        cluster.directory.on_models(door.apply_models)
        cluster.directory.on_routes(door.apply)
        return door

    def protocol(self) -> HttpProtocol:
        """For one new connection."""
        return HttpProtocol(self)

    def apply(self, routes: Iterable[RouteView]) -> None:
        """From now on these are the routes."""
        self._views = tuple(routes)
        self._has_routed = self._has_routed or bool(self._views)
        protocols = self._protocols
        before = protocols.match if protocols is not None and self._has_models else None
        self._table = RouteTable(self._views, self._router_of, before)
        self.heads.clear()
        self._routed.set()

    def apply_models(self, models: Iterable[ModelView]) -> None:
        """From now on these are the models of the inference protocols."""
        if self._protocols is not None:
            self._has_models = self._protocols.apply(models)
            if self._views is not None:
                self.apply(self._views)

    async def routed(self) -> None:
        """Return when the routes are known, and no request need be told that it has none."""
        await self._routed.wait()

    def stats(self) -> DoorStats:
        return DoorStats(
            len(self._connections), self.requests, self.in_flight, tuple(self.by_class)
        )

    async def drain(self) -> None:
        """Close what is idle, answer what is under way, and cut what takes too long."""
        self.draining = True
        for connection in list(self._connections):
            connection.drain()
        if self._connections:
            self._empty = asyncio.Event()
            try:
                await asyncio.wait_for(self._empty.wait(), self.settings.drain_timeout_s)
            except TimeoutError:
                self.abort()
        self.wheel.close()
        self.hangups.close()

    def abort(self) -> None:
        """Cut every connection."""
        for connection in list(self._connections):
            connection.transport.abort()

    # ---- for the connections

    def open(self, connection: Connection) -> bool:
        self._connections.add(connection)
        return len(self._connections) <= self.settings.max_connections

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections and self._empty is not None:
            self._empty.set()

    def read_head(self, raw: bytes) -> Head:
        """Parse a head that is not remembered; most clients send the same one again and again."""
        head = parse_head(raw, self.settings.max_headers, self._names)
        if self.settings.root_path:
            mount(head, self.settings.root_path)
        known = head.cacheable and len(raw) <= _HEAD_SIZE
        # Whoever finds a head here asks no further: so it is one of a body that is let in.
        if known and head.length <= self.settings.max_body_bytes:
            self.route_of(head)
            if len(self.heads) >= _HEADS:
                self.heads.clear()
            self.heads[raw] = head
        return head

    def route_of(self, head: Head) -> Route | None:
        if head.route is None and self._table is not None and not head.path.startswith("/-/"):
            head.route = self._table.match(head.path)
        return head.route

    def reroute(self, call: HttpCall, error: BaseException) -> None:
        """Its deployment is gone and it has not begun: it goes where its path leads now.

        Not before the next tick: the routes that came with this news are not known yet.
        """
        self._loop.call_soon(self._route_anew, call, error)

    def _route_anew(self, call: HttpCall, error: BaseException) -> None:
        if call.state != QUEUED:
            return  # the client has gone
        call.head.route = None
        route = self.route_of(call.head)
        if route is None or route.router is call.router:
            call.give_up(error)
        else:
            route.router.submit(call)

    def limit_of(self, head: Head) -> float:
        """Seconds that a request may take; <= 0: any number."""
        if head.timeout_s is not None:
            return head.timeout_s
        return self.settings.request_timeout_s or 0.0

    def answer(self, head: Head) -> tuple[int, str, str]:
        """What this door says by itself: status, text, content type."""
        plain = "text/plain; charset=utf-8"
        if head.path in _OWN:
            if self.draining:
                return 503, _DRAINING, plain
            if self._table is None or not self._has_begun():
                return 503, _UNROUTED, plain
            if head.path == "/-/healthz":
                return (200, "success", plain) if self._is_up() else (503, _NOT_UP, plain)
            if head.path == "/-/metrics":
                return 400, "This page is for a GET without a body.", plain
            listing = msgspec.json.encode(self._table.listing()).decode()
            return 200, listing, "application/json"
        if not self._has_begun():
            return 503, _UNROUTED, plain
        text = f"Path '{head.path}' not found. Ping http://.../-/routes for available routes."
        return 404, text, plain

    def _has_begun(self) -> bool:
        """Whether there are routes, have been some, or are to be none."""
        return self._has_routed or self._has_models or self._is_up()

    def page_of(self, head: Head) -> Callable[[], Awaitable[str]] | None:
        """What makes the page of metrics, if this is a request for it."""
        return self._numbers if head.path in _NUMBERS and not self.draining else None

    def outgoing(self, payload: bytes | Segments) -> bytes | Segments:
        """Count a reply; when draining, have it say that the connection ends."""
        if isinstance(payload, bytes):
            self.count(payload)
            return say_close(payload) if self.draining else payload
        self.count(payload.inline)
        return payload

    def count(self, reply: bytes) -> None:
        """Count a reply by the first digit of its status: `HTTP/1.1 200 OK`."""
        self.by_class[reply[9] - 48] += 1
