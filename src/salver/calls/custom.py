"""Runs a RequestRouter of the user's, or one of the ready ones, inside a router."""

from __future__ import annotations

import asyncio
import dis
import inspect
import logging
import pickle
from collections.abc import Awaitable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from salver.calls.call import QUEUED, Call
from salver.calls.context import request_id_of
from salver.calls.link import Link
from salver.calls.request_router import (
    ConsistentHashRouter,
    PendingRequest,
    RequestMetadata,
    RequestRouter,
    RunningReplica,
)
from salver.errors import SalverError
from salver.spec.code import ImportedCode, PickledCode
from salver.spec.ids import ReplicaId
from salver.wire.frames import END, ERR, RES, STREAM

if TYPE_CHECKING:
    from salver.calls.router import Router
    from salver.spec.routing import RequestRouterConfig
    from salver.spec.status import ReplicaFacts
    from salver.wire.connection import Connection
    from salver.wire.payload import Segments

__all__ = ("CustomRule", "WatchedLink")

_logger: Final = logging.getLogger("salver")
Groups = list[list[Link]]


class WatchedLink(Link):
    """A link whose answers the user's router is told of."""

    __slots__ = ()

    def frame(
        self,
        conn: Connection,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        ended = type in (END, ERR) or (type == RES and not flags & STREAM)
        call = self.pending.get(call_id) if ended else None
        super().frame(conn, type, flags, aux, call_id, payload)
        if ended and isinstance(rule := self.router.rule, CustomRule):
            rule.completed(self, call, aux)


class CustomRule:
    """A `Rule` that asks a RequestRouter.

    A call that finds no room waits with the groups that were chosen for it. A free slot goes to the
    longest waiter that names its replica; the others are asked about again. A `choose_replicas`
    without an `await` is done on the spot, another in a task of its own.
    """

    def __init__(self, router: Router, config: RequestRouterConfig) -> None:
        self._router = router
        self._replicas: dict[Link, RunningReplica] = {}
        self._facts: dict[str, ReplicaFacts] = {}
        self._groups: dict[int, Groups] = {}  # by ticket: of calls that wait
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._pending: dict[int, PendingRequest] = {}
        self._news = 0  # so often has what rules choose by changed
        self._broken: Exception | None = None
        try:
            kind = load_router(config.request_router_class)
            self._user = kind(router.deployment)
            self._user.initialize_state(**config.request_router_kwargs)
        except Exception as error:
            _logger.exception("The request router of %s cannot be used:", router.deployment)
            self._broken = SalverError(
                f"The request router of {router.deployment} cannot be used: {error!r}."
            )
            self._user = RequestRouter(router.deployment)
        # A caller that has just begun knows some replicas before others.
        self._incomplete = isinstance(self._user, ConsistentHashRouter)
        self._at_once = not _awaits(self._user.choose_replicas)

    @property
    def link_type(self) -> type[Link]:
        """Links that tell of answers, if anybody listens."""
        kind = type(self._user)
        listens = (
            kind.on_request_completed is not RequestRouter.on_request_completed
            or kind.on_new_queue_len_info is not RequestRouter.on_new_queue_len_info
        )
        return WatchedLink if listens else Link

    @property
    def choosing(self) -> int:
        """Calls that do not wait for room, but for their choice."""
        return len(self._tasks)

    # ---- Rule

    def pick(self, call: Call) -> Link | None:
        groups = self._groups_of(call)
        return self._best(call, groups) if groups is not None else None

    def next_for(self, link: Link) -> Call | None:
        queue = self._router.queue
        self._follow()
        for call in list(queue):
            groups = self._groups.get(call.ticket)
            if groups is None or not any(groups):
                groups = self._groups_of(call)
            if call.state != QUEUED or groups is None:
                continue
            best = self._best(call, groups)
            if best is link:
                queue.discard(call.ticket)
                return call
            if best is not None:  # it was chosen for only now, and prefers another
                self._router.start_waiting(call, best)
        return None

    def learn(self, facts: ReplicaFacts) -> None:
        self._facts[facts.replica] = facts
        self._news += 1
        self._groups.clear()  # what was chosen may be another now
        for link, replica in self._replicas.items():
            if link.replica.id == facts.replica:
                _describe(replica, facts)

    def forget(self, replica: str) -> None:
        self._facts.pop(replica, None)

    def close(self) -> None:
        """Choose no further."""
        for task in self._tasks.values():
            task.cancel()

    def completed(self, link: Link, call: Call | None, under_way: int) -> None:
        """A call has its answer; None: nobody waits for it any more."""
        replica_id = ReplicaId.parse(link.replica.id)
        self._user.on_new_queue_len_info(replica_id, under_way)
        self._user.on_request_completed(replica_id, "" if call is None else self._name(call))

    def _name(self, call: Call) -> str:
        """A call's name among those of all callers."""
        return request_id_of(self._router.cluster.name, call.ticket)

    # ---- choosing

    def _groups_of(self, call: Call) -> Groups | None:
        """Where the call may go. None: it is done for, or a task finds out."""
        if self._broken is not None:
            self._fail(call, self._broken)
            return None
        if not self._follow() or call.ticket in self._tasks:
            return None
        pending = self._pending.get(call.ticket)
        if pending is None:
            pending = PendingRequest(call, self._metadata(call))
        choice = self._user.choose_replicas(list(self._replicas.values()), pending)
        self._forget_all_but_waiting()
        self._pending[call.ticket] = pending
        if self._at_once:
            try:
                choice.send(None)
            except StopIteration as done:
                return self._read(call, done.value)
            except Exception as error:  # noqa: BLE001 - the user's code: the caller is told
                return self._failed(call, error)
        loop = self._router.cluster.loop
        self._tasks[call.ticket] = loop.create_task(self._choose(call, choice, self._news))
        return None

    async def _choose(self, call: Call, choice: Awaitable[Any], news: int) -> None:
        groups: Groups | None
        try:
            groups = self._read(call, await choice)
        except Exception as error:  # noqa: BLE001 - the user's code: the caller is told
            groups = self._failed(call, error)
        finally:
            self._tasks.pop(call.ticket, None)
        if call.state == QUEUED and groups is not None:
            link = self._best(call, groups)
            if link is None and news != self._news:
                link = self.pick(call)  # what came meanwhile woke nobody
            if link is not None:
                self._router.start_waiting(call, link)

    def _read(self, call: Call, ranked: Any) -> Groups:
        """Replicas as links; those that are gone by now are left out."""
        links = {replica.replica_id: link for link, replica in self._replicas.items()}
        groups = [[links[r.replica_id] for r in group if r.replica_id in links] for group in ranked]
        self._groups[call.ticket] = groups
        return groups

    def _failed(self, call: Call, error: Exception) -> Groups | None:
        """Nothing to choose from is no error: it is asked again when there is."""
        if any(replica.has_room for replica in self._replicas.values()):
            self._fail(call, error)
            return None
        self._groups[call.ticket] = []
        return []

    def _fail(self, call: Call, error: Exception) -> None:
        self._router.cancel(call)
        call.state = QUEUED
        call.failed(error)

    def _best(self, call: Call, groups: Groups) -> Link | None:
        for group in groups:
            free = [link for link in group if link.open and link.inflight < link.window]
            if free:
                link = min(free, key=_load)
                self._sent(call, link)
                return link
        return None

    def _sent(self, call: Call, link: Link) -> None:
        self._groups.pop(call.ticket, None)
        pending = self._pending.pop(call.ticket, None)
        replica_id = ReplicaId.parse(link.replica.id)
        self._user.on_send_request(replica_id)
        if pending is not None:
            self._user.on_request_routed(pending, replica_id, None)

    def _metadata(self, call: Call) -> RequestMetadata:
        return RequestMetadata(
            request_id=call.request_id,
            internal_request_id=self._name(call),
            call_method=call.method or "__call__",
            app_name=self._router.deployment.app,
            route=call.route,
            multiplexed_model_id=call.model_id,
            session_id=call.session_id,
            is_http_request=call.protocol == "http",
            is_grpc_request=call.protocol == "grpc",
            is_streaming=call.streaming,
        )

    # ---- replicas

    def _follow(self) -> bool:
        """Know the replicas that take calls now; whether there are any."""
        links = self._router.links
        if self._incomplete and (not links or self._router.fleet.spare):
            return False
        self._incomplete = False
        if list(self._replicas) != links:
            self._news += 1
            before, self._replicas = self._replicas, {}
            self._groups.clear()
            for link in links:
                replica_id = ReplicaId.parse(link.replica.id)
                replica = self._replicas[link] = before.get(link) or RunningReplica(
                    replica_id, link
                )
                if link.replica.id in self._facts:
                    _describe(replica, self._facts[link.replica.id])
            self._user.update_replicas(list(self._replicas.values()))
            for link, replica in before.items():
                if link.gone:
                    self._user.on_replica_actor_died(replica.replica_id)
        return bool(links)

    def _forget_all_but_waiting(self) -> None:
        """Of calls that were cancelled while they waited nobody tells."""
        if len(self._pending) > 2 * len(self._router.queue) + 64:
            waiting = {call.ticket for call in self._router.queue}
            self._pending = {t: p for t, p in self._pending.items() if t in waiting}
            self._groups = {t: g for t, g in self._groups.items() if t in waiting}


def load_router(code: Any) -> type[RequestRouter]:
    """The class, wherever it is found."""
    if isinstance(code, PickledCode):
        code = pickle.loads(code.data)
    elif isinstance(code, ImportedCode):
        code = _found(code.module, code.qualname)
    elif isinstance(code, str):
        module, colon, name = code.partition(":")
        code = _found(*((module, name) if colon else code.rsplit(".", 1)))
    if not (inspect.isclass(code) and issubclass(code, RequestRouter)):
        raise TypeError(f"{code!r} is no subclass of salver.serve.request_router.RequestRouter.")
    return code


def _found(module: str, qualname: str) -> Any:
    found: Any = import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _awaits(function: Any) -> bool:
    """Whether a coroutine function can be held up: whether there is an `await` in it."""
    return any(step.opname in ("GET_AWAITABLE", "SEND") for step in dis.get_instructions(function))


def _describe(replica: RunningReplica, facts: ReplicaFacts) -> None:
    replica.multiplexed_model_ids = set(facts.models)
    replica.routing_stats = facts.stats
    replica.replica_metadata = facts.metadata


def _load(link: Link) -> int:
    return link.inflight + link.others
