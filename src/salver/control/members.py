"""The controller's memory: apps, their deployments, and each replica with the line to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from salver.control.targets import Release
from salver.core.failures import Failures
from salver.core.ranks import assign
from salver.core.rollout import SERVING, AppKnown, Known, Phase, Plan, Replica, Target, has_failed
from salver.spec.app import AppSpec, DeploymentSpec
from salver.spec.ids import DeploymentId, ReplicaId
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
        self.route = route  # its app's prefix, as it was told
        self.address = ""
        self.peer: Peer | None = None
        self.place: Place | None = None  # as it was told
        self.shortage = ""  # what it waits for

    def enter(self, phase: Phase, now: float) -> None:
        self.replica = msgspec.structs.replace(self.replica, phase=phase, since=now)


class _Deployment:
    """What is remembered of a deployment besides its replicas."""

    def __init__(self) -> None:
        self.failures: dict[str, Failures] = {}  # by version
        self.settled = False
        self.in_turn = False
        self.options = DeploymentOptions()  # of the last spec that had it
        self.scaled = 0  # the autoscaler's last move: 1 up, -1 down
        self.scaling = 0  # the same, while it is not done
        self.resized = 0  # the same of the last deploy, where it changed nothing else
        self.troubles: dict[str, str] = {}  # of the autoscaler

    def wanted_anew(self, before: Target, target: Target, *, by_hand: bool) -> None:
        """The same version is deployed again, in another number or configuration, or as it was."""
        self.failures = {}
        more = target.num_replicas - before.num_replicas
        if before.config != target.config:
            self.scaled = self.resized = 0
        elif by_hand and more:
            self.scaled = self.scaling = 0
            self.resized = 1 if more > 0 else -1

    def completed(self) -> None:
        """There are as many as there should be."""
        self.settled = True
        self.scaling = min(self.scaling, 0)


class App:
    """One app by name: as wanted, and as known."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.wanted: Release | None = None  # None: to be deleted
        self.standing: Release | None = None  # what was wanted when it was complete last
        self.deployed_at = 0.0
        self.members: dict[str, Member] = {}
        self.order: tuple[DeploymentId, ...] = ()
        self.route: str | None = None  # as published
        self.plan: Plan | None = None  # of the last look at it
        self.resting: frozenset[DeploymentId] = frozenset()  # what its clients have unloaded
        self._deployments: dict[DeploymentId, _Deployment] = {}

    @property
    def spec(self) -> AppSpec | None:
        return self.wanted.spec if self.wanted is not None else None

    @property
    def targets(self) -> dict[DeploymentId, Target]:
        return self.wanted.targets if self.wanted is not None else {}

    @property
    def deleting(self) -> bool:
        return self.wanted is None

    @property
    def gone(self) -> bool:
        return self.wanted is None and not self.members

    def want(self, spec: AppSpec | None, at: float = 0.0) -> None:
        """From now on, this. Deployments whose version stays keep what is known of them."""
        before = self.targets
        self.wanted = Release(spec) if spec is not None else None
        gone = tuple(d for d in self.order if d not in self.targets)
        self.order = (*gone, *self.targets) if spec is not None else self.order
        self.deployed_at = at or self.deployed_at
        for part in spec.deployments if spec is not None else ():
            old, new = before.get(part.id), self.targets[part.id]
            known = self._known(part.id, tuple(m.replica for m in self.of(part.id)))
            if old is None or old.version != new.version or has_failed(old, known):
                self._deployments[part.id] = _Deployment()
            else:
                by_hand = part.options.autoscaling_config is None
                self.memory(part.id).wanted_anew(old, new, by_hand=by_hand)
            self.memory(part.id).options = part.options

    def completed(self) -> bool:
        """What is wanted runs in full; True: for the first time."""
        first = self.standing is not self.wanted
        self.standing = self.wanted
        return first

    def to_keep(self) -> tuple[AppSpec, AppSpec | None]:
        """What a later controller has to know: what is wanted, and what is upheld until then."""
        assert self.wanted is not None  # noqa: S101 - who is to be deleted is not kept
        before = self.standing if self.standing is not self.wanted else None
        return self.wanted.spec, before.spec if before is not None else None

    def release_of(self, deployment: DeploymentId, version: str) -> Release | None:
        """The release that has the deployment in this version."""
        for release in (self.wanted, self.standing):
            target = release.targets.get(deployment) if release is not None else None
            if target is not None and target.version == version:
                return release
        return None

    def target_of(self, member: Member) -> Target | None:
        """What its version is to be like."""
        release = self.release_of(member.deployment, member.replica.version)
        return release.targets[member.deployment] if release is not None else None

    def part_of(self, member: Member) -> DeploymentSpec | None:
        """The spec of its version; None: nobody wants that any more."""
        release = self.release_of(member.deployment, member.replica.version)
        return release.parts[member.deployment] if release is not None else None

    def options_of(self, member: Member) -> DeploymentOptions:
        """The options of its version, or the last of its deployment."""
        part = self.part_of(member)
        return part.options if part is not None else self.memory(member.deployment).options

    def with_options(self) -> list[tuple[Member, DeploymentOptions]]:
        """Every replica with the options of its version."""
        return [(member, self.options_of(member)) for member in self.members.values()]

    def memory(self, deployment: DeploymentId) -> _Deployment:
        found = self._deployments.get(deployment)
        if found is None:
            found = self._deployments[deployment] = _Deployment()
        return found

    def learn(self, member: Member, news: Callable[[Failures], Failures]) -> None:
        """Something went wrong or well with the version of this replica."""
        failures = self.memory(member.deployment).failures
        version = member.replica.version
        failures[version] = news(failures.get(version, Failures()))

    def known(self) -> AppKnown:
        """As reconcile wants it."""
        standing = self.standing.targets if self.standing is not None and self.wanted else {}
        replicas: dict[DeploymentId, list[Replica]] = {d: [] for d in (*self.targets, *standing)}
        for member in self.members.values():
            replicas.setdefault(member.deployment, []).append(member.replica)
        known = {d: self._known(d, tuple(each)) for d, each in replicas.items()}
        return AppKnown(self.targets, known, self.order, standing)

    def _known(self, deployment: DeploymentId, replicas: tuple[Replica, ...]) -> Known:
        memory = self.memory(deployment)
        target = self.targets.get(deployment)
        version = target.version if target is not None else ""
        memory.in_turn = memory.in_turn and any(r.version != version for r in replicas)
        before = self.standing.targets.get(deployment) if self.standing is not None else None
        return Known(
            replicas,
            memory.failures.get(version, Failures()),
            memory.failures.get(before.version, Failures()) if before is not None else Failures(),
            memory.settled,
            memory.in_turn,
            memory.scaling,
            memory.scaled,
            memory.resized,
        )

    def scale(self, deployment: DeploymentId, num_replicas: int) -> None:
        """Want so many of it from now on, also of the version that is upheld."""
        for release in (self.wanted, self.standing):
            if release is not None:
                release.scale(deployment, num_replicas)

    def rest(self, deployments: frozenset[DeploymentId]) -> None:
        """Want no replicas of these, whatever they are scaled to."""
        self.resting = deployments
        for release in (self.wanted, self.standing):
            if release is not None:
                release.rest(deployments)

    def retry_waiting(self, now: float) -> bool:
        """Whoever waits for capacity may try again; whether anybody does."""
        waiting = [m for m in self.members.values() if m.replica.phase is Phase.WAITING]
        for member in waiting:
            # `since` stays out of it: how long it may wait counts from its creation.
            member.enter(Phase.QUEUED, now)
        return bool(waiting)

    def of(self, deployment: DeploymentId) -> list[Member]:
        return [m for m in self.members.values() if m.deployment == deployment]

    def gang_of(self, member: Member) -> list[Member]:
        """The members of its gang, by rank; without one, itself."""
        gang = member.replica.gang
        if gang is None:
            return [member]
        names = (str(ReplicaId(name, member.deployment)) for name in gang.member_replica_ids)
        return [self.members[name] for name in names if name in self.members]

    def shortages(self) -> Mapping[str, str]:
        return {m.replica.id: m.shortage for m in self.members.values() if m.shortage}

    def places(self, members: Iterable[Member] | None = None) -> dict[str, Place]:
        """The place of each replica that starts or serves, among those of its version.

        Of all, or of these, who are all there are of their deployments.
        """
        held: dict[tuple[DeploymentId, str], dict[str, int | None]] = {}
        for member in self.members.values() if members is None else members:
            if member.replica.phase in PLACED:
                rank = member.place.rank if member.place is not None else None
                siblings = held.setdefault((member.deployment, member.replica.version), {})
                siblings[member.replica.id] = rank
        places: dict[str, Place] = {}
        for (deployment, version), ranks in held.items():
            if (release := self.release_of(deployment, version)) is not None:
                size = release.targets[deployment].num_replicas
                places |= {name: Place(rank, size) for name, rank in assign(ranks, size).items()}
        return places
