"""The gRPC door of one process: from a call's metadata to an app's router, and the answer back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc

from salver.calls.call import QUEUED
from salver.calls.context import request_ids
from salver.doors.grpc.calls import GrpcCall, StreamedCall, UnaryCall, Upstream
from salver.errors import RequestTimeoutError, SalverError, gRPCStatusError
from salver.replica.grpc.status import (
    CANCELLED,
    INTERNAL,
    NOT_FOUND,
    OK,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    code_of,
    status_of,
)
from salver.wire.frames import LARGE
from salver.wire.messages import CallTail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from salver.calls.router import Router
    from salver.doors.grpc.rpc import Rpc
    from salver.spec.grpc import gRPCOptions
    from salver.spec.ids import DeploymentId
    from salver.spec.status import DeploymentView

__all__ = ("DRAINING", "GrpcDoor", "GrpcDoorStats", "refused")

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
DRAINING: Final = "This node is being drained."
_MOST_QUEUED: Final = 1 << 30  # bytes of answers that may wait for one connection's client
UNROUTED: Final = "Route table is not populated yet."
_NOT_UP: Final = "No replicas are available yet."


@dataclass(frozen=True, slots=True)
class GrpcDoorStats:
    """A door at one moment."""

    calls: int
    in_flight: int
    by_code: dict[int, int]  # answers by gRPC's status code


class GrpcDoor:
    """Submits calls and tells clients how they ended."""

    def __init__(
        self,
        options: gRPCOptions,
        loop: asyncio.AbstractEventLoop,
        router_of: Callable[[DeploymentId], Router],
    ) -> None:
        self.loop = loop
        self.limit_s = options.request_timeout_s or 0.0
        self.longest = options.max_send_message_bytes
        self._unasked = min(self.longest, LARGE)  # an answer up to so long is always sent
        self.apps: dict[str, Router] | None = None  # by name; None: not known yet
        self.draining = False
        self.is_up: Callable[[], bool] = lambda: True  # whether what was wanted first has run
        self.calls = 0
        self.in_flight = 0
        self.by_code: dict[int, int] = {}
        # Told of each call that ends here, without a replica: path, status code, request id.
        self.access: Callable[[str, int, str], None] | None = None
        self.new_request_id = request_ids("door")
        self._router_of = router_of
        self._routed = asyncio.Event()
        self._early: list[Callable[[], None]] = []  # calls from before the apps were known

    def apply(self, views: Iterable[DeploymentView]) -> None:
        """From now on these are the deployments."""
        self.apps = {view.id.app: self._router_of(view.id) for view in views if view.ingress}
        self._routed.set()
        early, self._early = self._early, []
        for begin in early:
            begin()

    @property
    def trouble(self) -> str:
        """Why no call is taken now; empty: calls are."""
        if self.draining:
            return DRAINING
        return UNROUTED if self.apps is None else ""

    @property
    def unready(self) -> str:
        """Why nobody should be sent here yet, or any more; empty: clients are welcome."""
        return self.trouble or ("" if self.is_up() else _NOT_UP)

    def stats(self) -> GrpcDoorStats:
        return GrpcDoorStats(self.calls, self.in_flight, dict(self.by_code))

    async def routed(self) -> None:
        """Return when apps and models are known."""
        await self._routed.wait()

    # ---- calls

    def unary(
        self,
        rpc: Rpc,
        message: bytes,
        upstream: Upstream | None = None,
        router_of: Callable[[], Router] | None = None,
    ) -> None:
        """Call, for the one message that answers; by default the app is called."""
        if self.apps is None:
            self._early.append(lambda: self.unary(rpc, message, upstream, router_of))
        elif not rpc.over:
            self.submit(UnaryCall(self, rpc, message, upstream), router_of)

    async def stream(self, rpc: Rpc, message: bytes, upstream: Upstream | None = None) -> None:
        """Call, and pass on one message after the other, as the client takes them."""
        if self.apps is None:
            await self._routed.wait()
        call = StreamedCall(self, rpc.head, message, upstream)
        self.submit(call)
        try:
            while (answer := await call.next()) is not None:
                if len(answer) > self._unasked:
                    self.weigh(rpc, answer)
                rpc.compression = call.compression
                await rpc.write(answer)
        except asyncio.CancelledError:
            self.count(CANCELLED)
            call.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told
            call.cancel()
            self._fail(call, error, rpc)
        else:
            self._finish(call, call.tail, rpc)
        finally:
            self.over(call)

    async def answer(self, rpc: Rpc, work: Callable[[], Awaitable[bytes]]) -> None:
        """What this door itself says to a call."""
        self.calls += 1
        self.in_flight += 1
        request_id = rpc.head.request_id or self.new_request_id()
        code, details = OK, ""
        try:
            rpc.put(await work())
        except SalverError as error:
            code, details = code_of(error), str(error)
            if code == INTERNAL:
                code = UNAVAILABLE  # the controller is not there just now
        except asyncio.CancelledError:
            self.count(CANCELLED)
            raise
        finally:
            self.in_flight -= 1
        self.count(code)
        self.tell(rpc.head.path, code, request_id)
        rpc.end(code, details, (("request_id", request_id),))

    def submit(self, call: GrpcCall, router_of: Callable[[], Router] | None = None) -> None:
        """Begin a call; `over` belongs to it."""
        self.calls += 1
        self.in_flight += 1
        call.find = router_of
        try:
            router = self._router(call.head.app) if router_of is None else router_of()
        except SalverError as error:
            call.give_up(error)
            return
        if self.limit_s > 0:
            call.timer = self.loop.call_later(self.limit_s, self._expire, call)
        router.submit(call)

    def reroute(self, call: GrpcCall, error: BaseException) -> None:
        """Its deployment is gone and it has not begun: it goes to whoever answers now.

        Not before the next tick: what came with this news is not known yet.
        """
        self.loop.call_soon(self._route_anew, call, error)

    def _route_anew(self, call: GrpcCall, error: BaseException) -> None:
        if call.state != QUEUED:
            return  # the client has gone
        try:
            router = call.find() if call.find is not None else self._router(call.head.app)
        except SalverError:
            call.give_up(error)
            return
        if router is call.router:
            call.give_up(error)
        else:
            router.submit(call)

    def _router(self, app: str) -> Router:
        apps = self.apps or {}
        if app:
            router = apps.get(app)
            if router is not None:
                return router
            raise refused(NOT_FOUND, f"Application {app!r} not found. There are: {_list(apps)}.")
        if len(apps) == 1:
            return next(iter(apps.values()))
        if apps:
            raise refused(
                NOT_FOUND,
                "Metadata 'application' is not set, and there is more than one application. "
                f"There are: {_list(apps)}.",
            )
        raise refused(NOT_FOUND, "There is no application.")

    def _expire(self, call: GrpcCall) -> None:
        limit = self.limit_s
        call.cancel(RequestTimeoutError(limit, "grpc_options.request_timeout_s", call.request_id))

    def over(self, call: GrpcCall) -> None:
        """A call is over, however it went."""
        self.in_flight -= 1
        if call.timer is not None:
            call.timer.cancel()

    # ---- the end of a call

    def ended(
        self,
        call: UnaryCall,
        rpc: Rpc,
        tail: CallTail | None,
        answer: bytes | memoryview,
        error: BaseException | None,
    ) -> None:
        """A call for one message is over: tell the client."""
        self.over(call)
        rpc.work = None
        if rpc.over:  # the client has gone, or its deadline has passed
            self.count(CANCELLED)
        elif error is not None or (
            len(answer) > self._unasked and (error := self._objection(rpc, answer)) is not None
        ):
            self._fail(call, error, rpc)
        elif tail is None:
            self.count(OK)
            rpc.answer(answer, call.request_id)
        else:
            if tail.code == OK:
                rpc.compression = tail.compression
                rpc.put(answer)
            self._finish(call, tail, rpc)

    def _finish(self, call: GrpcCall, tail: CallTail | None, rpc: Rpc) -> None:
        """How it went, as the replica says."""
        own = (("request_id", call.request_id),)
        if tail is None:
            self.count(OK)
            rpc.end(OK, "", own)
        else:
            self.count(tail.code)
            rpc.end(tail.code, tail.details, (*own, *tail.metadata))

    def _fail(self, call: GrpcCall, error: BaseException, rpc: Rpc) -> None:
        request_id = call.request_id or self.new_request_id()
        if isinstance(error, SalverError):
            code, details = status_of(error)
        else:
            code, details = INTERNAL, "Internal error."
        self.count(code)
        self.tell(call.head.path, code, request_id)
        rpc.end(code, details, (("request_id", request_id),))

    def weigh(self, rpc: Rpc, answer: bytes | memoryview) -> None:
        """gRPCStatusError: this answer is not to be sent."""
        error = self._objection(rpc, answer)
        if error is not None:
            raise error

    def _objection(self, rpc: Rpc, answer: bytes | memoryview) -> SalverError | None:
        """What is said of an answer that is longer than the limit, or that nobody takes."""
        if len(answer) > self.longest:
            return refused(
                RESOURCE_EXHAUSTED,
                f"The answer has {len(answer)} bytes: more than "
                f"grpc_options.max_send_message_bytes={self.longest}.",
            )
        if rpc.conn.queued > _MOST_QUEUED:
            return refused(
                RESOURCE_EXHAUSTED,
                f"{rpc.conn.queued} bytes of answers wait for this client already, which does not "
                "take them.",
            )
        return None

    def count(self, code: int) -> None:
        """A call has been answered with this code."""
        self.by_code[code] = self.by_code.get(code, 0) + 1

    def tell(self, path: str, code: int, request_id: str) -> None:
        """A call has ended so without a replica."""
        if self.access is not None:
            self.access(path, code, request_id)


def refused(code: int, details: str) -> SalverError:
    """The error that is answered so."""
    return gRPCStatusError(None, _CODES[code], details)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
