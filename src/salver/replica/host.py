"""A replica: serves one object to its callers, on one loop, with no processes of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from salver.calls.context import current_call
from salver.core.choice import has_plenty
from salver.replica.access import LoggedCall
from salver.replica.caller import Caller
from salver.replica.calls import COUNT_MAX, ServedCall
from salver.replica.context import ReplicaContext, ReplicaRank, current_replica
from salver.replica.facts import Facts
from salver.replica.grpc.calls import MessageDoor
from salver.replica.handle_calls import serve_call
from salver.replica.heads import Heads
from salver.replica.metrics import scope_of
from salver.replica.models import current_catalogue
from salver.replica.pool import Pool
from salver.replica.reply import reply_error
from salver.replica.roots import move, take_root
from salver.replica.trailing import Trailing
from salver.replica.user_object import UserObject
from salver.spec.ids import ReplicaId
from salver.spec.logging import LoggingConfig
from salver.telemetry.registry import metric_scope
from salver.wire.frames import GOAWAY, READY
from salver.wire.messages import Hello

if TYPE_CHECKING:
    from salver.calls.cluster import Cluster
    from salver.oip.state import InferenceState
    from salver.spec.options import DeploymentOptions
    from salver.spec.start import Change, Place, StartSpec
    from salver.wire.streams import Dialler, Listener

__all__ = ("Host", "HostStats")

T = TypeVar("T")


class HostStats(msgspec.Struct, frozen=True):
    """What a replica is doing, at one moment."""

    replica_id: str
    ongoing: int
    connections: int
    draining: bool
    calls: int
    rejected: int
    withdrawn: int
    errors: int


class Host:
    """Serves calls to one object. The same in a process of its own and in the caller's loop.

    Life: `listen` (returns the address callers dial), `start` (imports, constructs, reconfigures,
    checks its health once; raises what the user's code raised), `drain` (refuses what is new,
    waits for what is under way), `stop` (lifespan shutdown, `__del__`, closes every connection).
    """

    loop: asyncio.AbstractEventLoop
    pool: Pool
    options: DeploymentOptions

    def __init__(
        self, replica_id: str, *, address: str, dialler: Dialler, secret: bytes, cluster: Cluster
    ) -> None:
        self.replica_id = replica_id
        self.address = address
        self._dialler = dialler
        self._secret = secret
        self._cluster = cluster
        self._listener: Listener | None = None
        identity = ReplicaId.parse(replica_id)
        self.deployment = identity.deployment_id.name
        self.app = identity.deployment_id.app
        self.context = ReplicaContext(identity, instance=cluster.address)
        self.logging = LoggingConfig()  # where the deployment has none of its own
        self.facts = Facts(replica_id)
        # What calls read, so plain attributes.
        self.call_type: type[ServedCall] = ServedCall
        self.limit = 0  # nothing is let in before the object is there, and once it drains
        self.ongoing = 0
        self.calls = 0
        self.rejected = 0
        self.withdrawn = 0
        self.errors = 0
        self.draining = False
        self.heads = Heads()
        self.outermost = False  # of its app: it answers what comes below `route`
        self.route = ""
        self.mount = ""  # under what path and by TLS or not others see the door
        self.secure = False
        self.roots: tuple[str, ...] = ("",)  # of requests: the first, or one from before a move
        self.base = Context()
        self._max_ongoing = 0
        self._callers: set[Caller] = set()
        self._refused: dict[Caller, None] = {}  # longest ago first
        self.trailing = Trailing(self._check_idle)
        self._idle: asyncio.Future[None] | None = None
        self.object = UserObject(self)
        self.inference: InferenceState | None = None
        self.grpc = MessageDoor(self)

    # ---- life

    async def listen(self) -> str:
        """Accept callers at `address`; they are refused (REJECT) until `start` has returned."""
        self.loop = asyncio.get_running_loop()
        if self._listener is None:
            hello = Hello(self._secret, "replica", self.replica_id, os.getpid())
            self._listener = await self._dialler.listen(
                self.address, lambda: Caller(self), hello, self._secret
            )
            self.address = self._listener.address
        return self.address

    async def start(self, spec: StartSpec) -> None:
        """Build the object. Listens first where `listen` was not called before."""
        await self.listen()
        self.options = options = spec.deployment.options
        self._max_ongoing = options.max_ongoing_requests
        self.log_as(options.logging_config)
        self.context.max_ongoing_requests = self._max_ongoing
        self.pool = Pool(self._max_ongoing, self.loop, f"{self.deployment}")
        self.outermost = spec.deployment.ingress
        take_root(self, spec.route_prefix or "")
        self._take_place(spec.place)
        self.context.code_version = spec.deployment.version
        self.context.gang_context = spec.gang
        self.context.companions = spec.deployment.companions
        self.base = copy_context()
        self.base.run(current_replica.set, self.context)
        self.base.run(current_call.set, None)
        self.base.run(metric_scope.set, scope_of(self.context))
        self.base.run(current_catalogue.set, self.facts.catalogue)
        # What the constructor sets in context variables is there in every call.
        await self.loop.create_task(self.object.build(spec), context=self.base)
        self._open()

    async def reconfigure(self, change: Change) -> None:
        """Go by this from now on; raises what the user's `reconfigure` raises."""
        before, self.options = self.options, (options := change.options)
        self.log_as(options.logging_config)
        if options.max_ongoing_requests != before.max_ongoing_requests:
            await self.set_max_ongoing(options.max_ongoing_requests)
        if options.user_config is not None and options.user_config != before.user_config:
            await self._in_user_context(self.object.reconfigure(options.user_config))
        move(self, change.route_prefix or "")

    async def place(self, place: Place) -> None:
        """Be the one of this rank from now on.

        A `reconfigure` that takes a rank hears of it, if there is a user_config to call it with.
        """
        before, config = self.context.rank, self.options.user_config
        self._take_place(place)
        if self.context.rank != before and config is not None and self.object.takes_rank:
            await self._in_user_context(self.object.reconfigure(config))

    def _take_place(self, place: Place) -> None:
        self.context.rank = ReplicaRank(place.rank, place.node_rank, place.rank)
        self.context.world_size = place.world_size

    async def check_health(self, limit_s: float) -> bool:
        """Raise what the user's `check_health` raises; False: there is none."""
        return await self._in_user_context(self.object.check_health(limit_s))

    def _in_user_context(self, hook: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        return self.loop.create_task(hook, context=self.base.copy())

    def log_as(self, config: LoggingConfig | None) -> LoggingConfig:
        """From now on; None: as the app or the instance says. What is in force is returned."""
        config = config or self.logging
        self.call_type = LoggedCall if config.enable_access_log else ServedCall
        return config

    async def set_max_ongoing(self, limit: int) -> None:
        """Change how many calls are let in at a time."""
        self._max_ongoing = limit
        self.context.max_ongoing_requests = limit
        self.pool.resize(limit)
        if not self.draining:
            self._open()

    def _open(self) -> None:
        self.limit = self._max_ongoing
        self._call_back()

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new calls; True when every call under way has ended within the time."""
        self.draining, self.limit = True, 0
        for caller in self._callers:
            caller.conn.send(GOAWAY, 0, 0, 0)
        both = self._drain_calls(timeout_s), self.object.drain(timeout_s)
        return all(await asyncio.gather(*both))

    async def _drain_calls(self, timeout_s: float) -> bool:
        if self.ongoing == 0 and not self.trailing.tasks:
            return True
        if self._idle is None:
            self._idle = self.loop.create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._idle)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Cancel what is left, end the app's lifespan, run `__del__`, close the connections."""
        self.draining, self.limit = True, 0
        tasks = [call.task for caller in self._callers for call in caller.calls.values()]
        tasks += self.trailing.tasks
        for caller in list(self._callers):
            caller.cancel_all()
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if self.object.target is not None:
            await self._in_user_context(self.object.destroy())
        for caller in list(self._callers):
            caller.conn.close("the replica stops")
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            if hasattr(self, "pool"):
                self.pool.close()

    # ---- calls

    def serve_http(self, call: ServedCall, space: Context) -> None:
        """Run an HTTP call that has been let in."""
        door = self.object.door
        if door is None:  # the log knows the request
            space.run(reply_error, call, self.object.no_method("__call__"))
        else:
            door(call, space)

    def serve_call(self, call: ServedCall, name: str | None, space: Context) -> None:
        """Run a handle's call that has been let in."""
        try:
            method = self.object.methods.get(name or "") or self.object.method(name or "")
        except Exception as error:  # noqa: BLE001 - a property of the user's: the caller is told
            call.fail(error)
        else:
            serve_call(self, call, method, space)

    def joined(self, caller: Caller) -> None:
        """A caller has connected."""
        self._callers.add(caller)
        if self.draining:
            caller.conn.send(GOAWAY, 0, 0, 0)

    def left(self, caller: Caller) -> None:
        """A caller is gone."""
        self._callers.discard(caller)
        self._refused.pop(caller, None)

    def refuse(self, caller: Caller) -> None:
        """Remember who was turned away, to call back when a slot is free."""
        self.rejected += 1
        caller.narrow = True
        self._refused.setdefault(caller)

    def look_for_room(self, caller: Caller) -> None:
        """Tell a caller that holds calls back when, or that, it may send another one."""
        self._refused.setdefault(caller)
        self._call_back()

    def release(self) -> None:
        """A call has ended."""
        self.ongoing -= 1
        if self._refused:
            self._call_back()
        if self._idle is not None:
            self._check_idle()

    def _check_idle(self) -> None:
        if self._idle is not None and not (
            self.ongoing or self.trailing.tasks or self._idle.done()
        ):
            self._idle.set_result(None)

    def _call_back(self) -> None:
        # All of them, not only the first: it may have nothing left to send.
        while self._refused and self.ongoing < self.limit:
            caller = next(iter(self._refused))
            del self._refused[caller]
            others = self.ongoing - len(caller.calls)
            caller.conn.send(READY, 0, min(others, COUNT_MAX), 0)
            caller.narrow = not has_plenty(others, self.limit)

    def stats(self) -> HostStats:
        """What this replica is doing now."""
        return HostStats(
            self.replica_id,
            self.ongoing,
            len(self._callers),
            self.draining,
            self.calls,
            self.rejected,
            self.withdrawn,
            self.errors,
        )
