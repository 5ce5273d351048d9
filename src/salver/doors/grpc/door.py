"""The gRPC door of one process: from a call's metadata to an app's router, and the answer back."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import grpc

from salver.calls.call import QUEUED
from salver.doors.grpc.calls import StreamedCall, UnaryCall, Upstream
from salver.doors.grpc.head import CallHead, HeadCache
from salver.errors import RequestTimeoutError, SalverError, gRPCStatusError
from salver.replica.grpc.status import (
    CANCELLED,
    INTERNAL,
    NOT_FOUND,
    OK,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    code_of,
    cut,
    status_of,
)
from salver.wire.messages import CallTail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from salver.calls.router import Router
    from salver.spec.grpc import gRPCOptions
    from salver.spec.ids import DeploymentId
    from salver.spec.status import DeploymentView

__all__ = ("DRAINING", "GrpcDoor", "GrpcDoorStats", "abort")

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
DRAINING: Final = "This node is being drained."
UNROUTED: Final = "Route table is not populated yet."


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
        self.apps: dict[str, Router] | None = None  # by name; None: not known yet
        self.draining = False
        self.calls = 0
        self.in_flight = 0
        self.by_code: dict[int, int] = {}
        # Told of each call that ends here, without a replica: path, status code, request id.
        self.access: Callable[[str, int, str], None] | None = None
        self._heads = HeadCache()
        self._router_of = router_of
        self._routed = asyncio.Event()

    def apply(self, views: Iterable[DeploymentView]) -> None:
        """From now on these are the deployments."""
        self.apps = {view.id.app: self._router_of(view.id) for view in views if view.ingress}
        self._routed.set()

    @property
    def trouble(self) -> str:
        """Why no call is taken now; empty: calls are."""
        if self.draining:
            return DRAINING
        return UNROUTED if self.apps is None else ""

    def stats(self) -> GrpcDoorStats:
        return GrpcDoorStats(self.calls, self.in_flight, dict(self.by_code))

    async def routed(self) -> None:
        """Return when apps and models are known."""
        await self._routed.wait()

    def read_head(self, context: Any) -> CallHead:
        """What a call's metadata say."""
        return self._heads.read(context)

    # ---- calls

    async def unary(
        self,
        path: str,
        message: bytes,
        context: Any,
        upstream: Upstream | None = None,
        router_of: Callable[[], Router] | None = None,
    ) -> bytes:
        """Call, and wait for the one message that answers; by default the app is called."""
        if self.apps is None:
            await self._routed.wait()
        head = self._heads.read(context)
        call = UnaryCall(path, head, message, self.loop, upstream)
        timer = self.submit(call, router_of)
        pump = self._pump(upstream, context)
        try:
            tail, answer = await call.future
            if len(answer) > self.longest:
                raise self.too_long(answer)
        except asyncio.CancelledError:
            self._left(call)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told
            await self._fail(call, error, context)
        finally:
            self.over(timer, pump)
        await self._finish(call, tail, context)
        return answer  # type: ignore[no-any-return]

    async def stream(
        self, path: str, message: bytes, context: Any, upstream: Upstream | None = None
    ) -> None:
        """Call, and pass on one message after the other, as the client takes them."""
        if self.apps is None:
            await self._routed.wait()
        head = self._heads.read(context)
        call = StreamedCall(path, head, message, self.loop, upstream)
        timer = self.submit(call)
        pump = self._pump(upstream, context)
        try:
            while (answer := await call.next()) is not None:
                if not call.wrote:
                    call.wrote = True
                    _compress(context, call.compression)
                if len(answer) > self.longest:
                    raise self.too_long(answer)
                await context.write(answer)
            tail, _ = await call.future
        except asyncio.CancelledError:
            self._left(call)
            raise
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is told
            call.cancel()
            await self._fail(call, error, context)
        finally:
            self.over(timer, pump)
        await self._finish(call, tail, context)

    async def answer(self, path: str, work: Callable[[], Awaitable[bytes]], context: Any) -> bytes:
        """What this door itself says to a call."""
        self.calls += 1
        self.in_flight += 1
        request_id = self._heads.read(context).request_id or uuid.uuid4().hex
        trailing = (("request_id", request_id),)
        try:
            message = await work()
        except SalverError as error:
            code = code_of(error)
            code = UNAVAILABLE if code == INTERNAL else code  # the controller is not there just now
            self.count(code)
            self.tell(path, code, request_id)
            await abort(context, code, str(error), trailing)
        except asyncio.CancelledError:
            self.count(CANCELLED)
            raise
        finally:
            self.in_flight -= 1
        self.count(OK)
        self.tell(path, OK, request_id)
        context.set_trailing_metadata(trailing)
        return message

    def submit(
        self, call: UnaryCall, router_of: Callable[[], Router] | None = None
    ) -> asyncio.TimerHandle | None:
        """Begin a call; `over` belongs to it, with what this returns."""
        self.calls += 1
        self.in_flight += 1
        call.door, call.find = self, router_of
        try:
            router = self._router(call.head.app) if router_of is None else router_of()
        except SalverError as refused:
            call.give_up(refused)
            return None
        router.submit(call)
        if self.limit_s <= 0:
            return None
        return self.loop.call_later(self.limit_s, self._expire, call)

    def reroute(self, call: UnaryCall, error: BaseException) -> None:
        """Its deployment is gone and it has not begun: it goes to whoever answers now.

        Not before the next tick: what came with this news is not known yet.
        """
        self.loop.call_soon(self._route_anew, call, error)

    def _route_anew(self, call: UnaryCall, error: BaseException) -> None:
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
            raise _refused(NOT_FOUND, f"Application {app!r} not found. There are: {_list(apps)}.")
        if len(apps) == 1:
            return next(iter(apps.values()))
        if apps:
            raise _refused(
                NOT_FOUND,
                "Metadata 'application' is not set, and there is more than one application. "
                f"There are: {_list(apps)}.",
            )
        raise _refused(NOT_FOUND, "There is no application.")

    def _expire(self, call: UnaryCall) -> None:
        limit = self.limit_s
        call.cancel(RequestTimeoutError(limit, "grpc_options.request_timeout_s", call.request_id))

    def _pump(self, upstream: Upstream | None, context: Any) -> asyncio.Task[None] | None:
        if upstream is None:
            return None
        answering: Any = asyncio.current_task()
        return self.loop.create_task(upstream.pump(context, answering))

    def over(
        self, timer: asyncio.TimerHandle | None, pump: asyncio.Task[None] | None = None
    ) -> None:
        """A call is over, however it went."""
        self.in_flight -= 1
        if timer is not None:
            timer.cancel()
        if pump is not None:
            pump.cancel()
            pump.add_done_callback(_look_at)

    # ---- the end of a call

    def _left(self, call: UnaryCall) -> None:
        """The client has gone, or its deadline has passed."""
        self.count(CANCELLED)
        call.cancel()

    async def _finish(self, call: UnaryCall, tail: CallTail | None, context: Any) -> None:
        """How it went; an error is raised that ends it, where it did not go well."""
        trailing: Any = (("request_id", call.request_id),)
        if tail is not None:
            trailing += tuple((key, value) for key, value in tail.metadata)
            if tail.code != OK:
                self.count(tail.code)
                await abort(context, tail.code, tail.details, trailing)
            if not call.wrote and tail.compression is not None:
                _compress(context, tail.compression)
                await context.send_initial_metadata(())  # a whole answer would leave as it is
        self.count(OK)
        context.set_trailing_metadata(trailing)

    async def _fail(self, call: UnaryCall, error: BaseException, context: Any) -> NoReturn:
        request_id = call.request_id or uuid.uuid4().hex
        if isinstance(error, SalverError):
            code, details = status_of(error)
        else:
            code, details = INTERNAL, "Internal error."
        self.count(code)
        self.tell(call.path, code, request_id)
        await abort(context, code, details, (("request_id", request_id),))
        raise AssertionError("abort() raises")

    def too_long(self, answer: bytes) -> SalverError:
        """What is said of an answer that is longer than the limit."""
        return _refused(
            RESOURCE_EXHAUSTED,
            f"The answer has {len(answer)} bytes: more than grpc_options.max_send_message_bytes="
            f"{self.longest}.",
        )

    def count(self, code: int) -> None:
        """A call has been answered with this code."""
        self.by_code[code] = self.by_code.get(code, 0) + 1

    def tell(self, path: str, code: int, request_id: str) -> None:
        """A call has ended so without a replica."""
        if self.access is not None:
            self.access(path, code, request_id)


def _refused(code: int, details: str) -> SalverError:
    return gRPCStatusError(None, _CODES[code], details)


async def abort(context: Any, code: int, details: str, trailing: Any = ()) -> None:
    """End a call with this status, by an exception."""
    shown = cut(details).encode("utf-8", "replace").decode()
    await context.abort(_CODES.get(code, grpc.StatusCode.UNKNOWN), shown, trailing)


def _compress(context: Any, algorithm: int | None) -> None:
    if algorithm is not None:
        context.set_compression(grpc.Compression(algorithm))


def _look_at(task: asyncio.Task[None]) -> None:
    """A stream that was cut may end its reader in any way: the call itself is told, too."""
    if not task.cancelled():
        task.exception()


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
