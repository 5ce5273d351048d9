"""The controller's memory: apps, their deployments, and each replica with the line to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from salver.control.targets import targets_of
from salver.core.failures import Failures
from salver.core.ranks import assign
from salver.core.reconcile import has_failed
from salver.core.rollout import SERVING, AppKnown, Known, Phase, Replica, Target
from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions
from salver.spec.start import Place

__all__ = ("App", "Member", "Peer")


PLACED: Final = SERVING | {Phase.STARTING}  # those that have a rank


class Peer(Protocol):
    """The line to a replica that has dialled in."""

    @property
    def is_open(self) -> bool: ...

    async def call(self, method: str, body: Any = None) -> Any: ...


class Member:
    """One replica: what reconcile knows of it, and how to reach it."""

    def __init__(self, deployment: DeploymentId, replica: Replica, route: str | None) -> None:
        self.deployment = deployment
        self.replica = replica
        self.route = route  # the prefix that it was started with
        self.address = ""
        self.peer: Peer | None = None
        self.place: Place | None = None  # as it was told
        self.shortage = ""  # what it waits for

    def enter(self, phase: Phase, now: float) -> None:
        self.replica = msgspec.structs.replace(self.replica, phase=phase, since=now)


class _Deployment:
    """What is remembered of a deployment besides its replicas."""

    def __init__(self) -> None:
        self.failures = Failures()
        self.settled = False
        self.in_turn = False
        self.options = DeploymentOptions()  # of the last spec that had it
        self.scaled = 0  # the autoscaler's last move: 1 up, -1 down
        self.scaling = 0  # the same, while it is not done
        self.troubles: dict[str, str] = {}  # of the autoscaler

    def completed(self) -> None:
        """There are as many as there should be."""
        self.settled = True
        self.scaling = min(self.scaling, 0)


class App:
    """One app by name: as wanted, and as known."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spec: AppSpec | None = None  # None: to be deleted
        self.deployed_at = 0.0
        self.targets: dict[DeploymentId, Target] = {}
        self.members: dict[str, Member] = {}
        self.order: tuple[DeploymentId, ...] = ()
        self.route: str | None = None  # as published
        self._deployments: dict[DeploymentId, _Deployment] = {}

    @property
    def deleting(self) -> bool:
        return self.spec is None

    @property
    def gone(self) -> bool:
        return self.spec is None and not self.members

    def want(self, spec: AppSpec | None, at: float = 0.0) -> None:
        """From now on, this. Deployments whose version stays keep what is known of them."""
        before = self.targets
        self.targets = {} if spec is None else targets_of(spec)
        gone = tuple(d for d in self.order if d not in self.targets)
        self.order = (*gone, *self.targets) if spec is not None else self.order
        self.spec = spec
        self.deployed_at = at or self.deployed_at
        for deployment, target in self.targets.items():
            same = deployment in before and before[deployment].version == target.version
            memory = self.memory(deployment)
            if not same or has_failed(before[deployment], self._known(deployment)):
                self._deployments[deployment] = _Deployment()
            else:
                memory.failures = Failures()
        for wanted in spec.deployments if spec is not None else ():
            self.memory(wanted.id).options = wanted.options

    def memory(self, deployment: DeploymentId) -> _Deployment:
        return self._deployments.setdefault(deployment, _Deployment())

    def drain_limit_s(self, member: Member) -> float:
        """How long it may finish its calls."""
        return self.memory(member.deployment).options.graceful_shutdown_timeout_s

    def known(self) -> AppKnown:
        """As reconcile wants it."""
        ids = dict.fromkeys((*self.targets, *(m.deployment for m in self.members.values())))
        return AppKnown(self.targets, {d: self._known(d) for d in ids}, self.order)

    def _known(self, deployment: DeploymentId) -> Known:
        memory = self.memory(deployment)
        replicas = tuple(m.replica for m in self.of(deployment))
        target = self.targets.get(deployment)
        memory.in_turn = memory.in_turn and any(
            target is None or r.version != target.version for r in replicas
        )
        scale = (memory.scaling, memory.scaled)
        return Known(replicas, memory.failures, memory.settled, memory.in_turn, *scale)

    def scale(self, deployment: DeploymentId, num_replicas: int) -> None:
        """Want so many of it from now on."""
        target = self.targets.get(deployment)
        if target is not None and target.num_replicas != num_replicas:
            self.targets[deployment] = msgspec.structs.replace(target, num_replicas=num_replicas)

    def of(self, deployment: DeploymentId) -> list[Member]:
        return [m for m in self.members.values() if m.deployment == deployment]

    def deployment(self, deployment: DeploymentId) -> DeploymentSpec | None:
        specs = self.spec.deployments if self.spec is not None else ()
        return next((spec for spec in specs if spec.id == deployment), None)

    def shortages(self) -> Mapping[str, str]:
        return {m.replica.id: m.shortage for m in self.members.values() if m.shortage}

    def places(self, deployment: DeploymentId) -> dict[str, Place]:
        """The place of each replica of the wanted version that starts or serves, by its name."""
        target = self.targets.get(deployment)
        if target is None:
            return {}
        held = {
            m.replica.id: m.place.rank if m.place is not None else None
            for m in self.of(deployment)
            if m.replica.version == target.version and m.replica.phase in PLACED
        }
        size = target.num_replicas
        return {name: Place(rank, size) for name, rank in assign(held, size).items()}
