"""How users write their own rule of routing, and two that are ready."""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import shuffle
from typing import Any

import msgspec

from salver.core.ring import Ring
from salver.spec.ids import DeploymentId, ReplicaId

__all__ = (
    "ConsistentHashRouter",
    "FIFOMixin",
    "LocalityMixin",
    "MultiplexMixin",
    "PendingRequest",
    "ReplicaResult",
    "RequestMetadata",
    "RequestRouter",
    "RoundRobinRouter",
    "RunningReplica",
)


class RequestMetadata(msgspec.Struct, frozen=True):
    """What is known of a call besides its arguments."""

    request_id: str = ""
    internal_request_id: str = ""  # what `on_request_completed` is told of this call
    call_method: str = "__call__"
    app_name: str = ""
    route: str = ""
    multiplexed_model_id: str = ""
    session_id: str = ""
    is_http_request: bool = False
    is_grpc_request: bool = False
    is_streaming: bool = False


class PendingRequest:
    """A call that is to be routed.

    `args` are a handle's arguments, the request that came by HTTP (with its body, if that came
    whole), or the bytes of the message that came by gRPC.
    """

    future = None
    resolved = True  # responses among the arguments have become their results

    def __init__(self, call: Any, metadata: RequestMetadata) -> None:
        self._call = call
        self._arguments: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self.metadata = metadata
        self.created_at = time.time()
        self.routing_context: dict[str, Any] = {}

    @property
    def args(self) -> tuple[Any, ...]:
        return self._read()[0]

    @property
    def kwargs(self) -> dict[str, Any]:
        return self._read()[1]

    def _read(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Unpickled when it is first looked at."""
        if self._arguments is None:
            self._arguments = self._call.arguments()
        return self._arguments


class ReplicaResult:
    """The type of `on_request_routed`'s `result`, which is None: a call that is sent has none."""


class RunningReplica:
    """A replica as a router sees it."""

    actor_id = None
    availability_zone = None
    backend_http_endpoint = None
    is_cross_language = False
    node_id = ""  # this machine

    def __init__(self, replica_id: ReplicaId, link: Any) -> None:
        self.replica_id = replica_id
        self.multiplexed_model_ids: set[str] = set()
        self.routing_stats: dict[str, Any] = {}
        self.replica_metadata: dict[str, Any] = {}
        self._link = link

    @property
    def max_ongoing_requests(self) -> int:
        return int(self._link.limit)

    @property
    def queue_len(self) -> int:
        """Calls under way there, as far as is known here."""
        return int(self._link.inflight + self._link.others)

    @property
    def has_room(self) -> bool:
        """Whether it would take a call now."""
        return bool(self._link.inflight < self._link.window)

    def __repr__(self) -> str:
        return f"RunningReplica({str(self.replica_id)!r}, queue_len={self.queue_len})"


class _QueueLengths:
    """What is known of replicas' queues: always fresh, for it is counted here."""

    def __init__(self, router: RequestRouter) -> None:
        self._router = router

    def get(self, replica_id: ReplicaId) -> int | None:
        replica = self._router.curr_replicas.get(replica_id)
        return None if replica is None else replica.queue_len


class RequestRouter:
    """Subclass it, and define `choose_replicas`. It runs in the process where calls start."""

    def __init__(self, deployment_id: DeploymentId) -> None:
        self.deployment_id = deployment_id
        self.curr_replicas: dict[ReplicaId, RunningReplica] = {}
        self.replica_queue_len_cache = _QueueLengths(self)
        self.supports_rejection_protocol = True

    @property
    def app_name(self) -> str:
        return self.deployment_id.app

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """Groups of replicas, the best first: the call goes to the least loaded of the first group
        in which one has room. It waits while none has, and goes to none that is not named."""
        raise NotImplementedError(f"{type(self).__name__} must define choose_replicas().")

    # ---- hooks

    def initialize_state(self, *_: Any, **kwargs: Any) -> None:
        """Called once, with `request_router_kwargs`."""
        if kwargs:
            raise TypeError(
                f"{type(self).__name__} takes no request_router_kwargs, got {kwargs!r}. "
                "Define initialize_state() to take them."
            )

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """These are the replicas now."""
        self.curr_replicas = {replica.replica_id: replica for replica in replicas}

    def on_send_request(self, replica_id: ReplicaId) -> None:
        """A call is about to be sent."""

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaId, result: ReplicaResult | None
    ) -> None:
        """A call was sent."""

    def on_request_completed(self, replica_id: ReplicaId, internal_request_id: str) -> None:
        """A call has its answer."""

    def on_new_queue_len_info(self, replica_id: ReplicaId, info: int) -> None:
        """A replica says how many calls it has under way."""

    def on_replica_actor_died(self, replica_id: ReplicaId) -> None:
        """The replica is gone."""

    def on_replica_actor_unavailable(self, replica_id: ReplicaId) -> None:
        """Never called: a replica answers, or is gone."""

    # ---- for those who choose

    def select_available_replicas(
        self, candidates: Iterable[RunningReplica] | None = None
    ) -> list[RunningReplica]:
        """Those that would take a call now."""
        among = self.curr_replicas.values() if candidates is None else candidates
        return [replica for replica in among if replica.has_room]


class FIFOMixin:
    """Calls are served in the order in which they came: that is always so here."""


class LocalityMixin:
    """Prefers replicas near by: on one machine all are."""

    curr_replicas: dict[ReplicaId, RunningReplica]

    def apply_locality_routing(
        self,
        pending_request: PendingRequest | None = None,  # noqa: ARG002
    ) -> set[ReplicaId]:
        return set(self.curr_replicas)

    def rank_replicas_via_locality(
        self, replicas: list[RunningReplica]
    ) -> list[list[RunningReplica]]:
        return [list(replicas)]


class MultiplexMixin:
    """Prefers replicas that hold the call's model, then those that hold the fewest."""

    curr_replicas: dict[ReplicaId, RunningReplica]

    def apply_multiplex_routing(
        self, pending_request: PendingRequest | None = None
    ) -> set[ReplicaId]:
        model = pending_request.metadata.multiplexed_model_id if pending_request else ""
        if not model:
            return set(self.curr_replicas)
        ranked = self.rank_replicas_via_multiplex(list(self.curr_replicas.values()), model)
        return {replica.replica_id for replica in ranked[0]} if ranked else set()

    def rank_replicas_via_multiplex(
        self, replicas: list[RunningReplica], multiplexed_model_id: str
    ) -> list[list[RunningReplica]]:
        """Groups: those that hold the model; the others, by how many they hold."""
        groups: dict[int, list[RunningReplica]] = {}
        for replica in replicas:
            held = replica.multiplexed_model_ids
            groups.setdefault(-1 if multiplexed_model_id in held else len(held), []).append(replica)
        return [groups[rank] for rank in sorted(groups)]


class RoundRobinRouter(MultiplexMixin, RequestRouter):
    """One replica after the other; of calls for a model, those that hold it come first."""

    _turn = -1

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        self._turn += 1
        groups = [candidate_replicas]
        if pending_request is not None and pending_request.metadata.multiplexed_model_id:
            model = pending_request.metadata.multiplexed_model_id
            groups = self.rank_replicas_via_multiplex(candidate_replicas, model)
        turned = []
        for group in groups:
            start = self._turn % len(group) if group else 0
            turned += [[replica] for replica in (*group[start:], *group[:start])]
        return turned


class ConsistentHashRouter(RequestRouter):
    """Calls of one session go to one replica, and to its stand-ins when that is full.

    Calls without a session go anywhere.
    """

    def initialize_state(
        self, num_virtual_nodes: int = 100, num_fallback_replicas: int = 2
    ) -> None:
        for name, value, least in (
            ("num_virtual_nodes", num_virtual_nodes, 1),
            ("num_fallback_replicas", num_fallback_replicas, 0),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}={value!r} is not valid: expected an int >= {least}.")
        self._points = num_virtual_nodes
        self._count = 1 + num_fallback_replicas
        self._ring = Ring((), num_virtual_nodes)
        self._by_name: dict[str, RunningReplica] = {}

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        super().update_replicas(replicas)
        self._by_name = {str(replica.replica_id): replica for replica in replicas}
        if self._ring.names != self._by_name.keys():
            self._ring = Ring(self._by_name, self._points)

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        session = pending_request.metadata.session_id if pending_request is not None else ""
        if not session:
            anywhere = list(candidate_replicas)
            shuffle(anywhere)
            return [anywhere]
        return [[self._by_name[name]] for name in self._ring.first(session, self._count)]
