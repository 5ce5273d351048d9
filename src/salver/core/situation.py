"""One app's replicas as `reconcile` looks at them: which are new, which old, what is complete."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from salver.core.gangs import broken, together
from salver.core.rollout import AppKnown, Known, Replica, Target, has_failed
from salver.spec.ids import DeploymentId

__all__ = ("Situation",)

NOTHING: Final = Known()


class Situation:
    """What is known of an app at one moment, by deployment. It answers and decides nothing."""

    def __init__(self, app: AppKnown) -> None:
        self._app = app
        self.targets, self.standing, self.order = app.targets, app.standing, app.order
        self.broken = frozenset().union(*(broken(k.replicas) for k in app.known.values()))
        self.failed = any(has_failed(t, self.known(d)) for d, t in app.targets.items())
        self.complete = all(self.is_complete(d) for d in app.targets)

    def known(self, deployment: DeploymentId) -> Known:
        return self._app.known.get(deployment, NOTHING)

    def deployments(self) -> Iterable[DeploymentId]:
        """All that are wanted, were wanted, or are there."""
        return dict.fromkeys((*self.targets, *self.standing, *self._app.known))

    def new(self, deployment: DeploymentId) -> list[Replica]:
        """Of the wanted version, and not on their way out."""
        target = self.targets.get(deployment)
        replicas = self.known(deployment).replicas
        return [
            r for r in replicas if target and r.version == target.version and not self.leaves(r)
        ]

    def old(self, deployment: DeploymentId) -> list[Replica]:
        """Of another version, and serving."""
        target = self.targets.get(deployment)
        version = target.version if target else None
        replicas = self.known(deployment).replicas
        serving = [r for r in replicas if r.version != version and r.serves]
        return [r for r in serving if r.id not in self.broken]

    def leaves(self, replica: Replica) -> bool:
        """Whether it is on its way out, or is to be."""
        return replica.ends or replica.id in self.broken

    def is_complete(self, deployment: DeploymentId) -> bool:
        """Whether everything that is wanted of it serves."""
        serving = together([r for r in self.new(deployment) if r.serves])
        return len(serving) >= self.targets[deployment].num_replicas

    def exchanges(self, deployment: DeploymentId) -> bool:
        """Whether old and new serve side by side while it is updated."""
        target = self.targets.get(deployment)
        return self.known(deployment).in_turn or (target is not None and target.surge is not None)

    def upheld(self, deployment: DeploymentId) -> Target | None:
        """The version before, as long as it is to go on at full strength."""
        standing, target = self.standing.get(deployment), self.targets.get(deployment)
        if standing is None or self.complete:
            return None
        if target is not None:
            if target.version == standing.version:
                return None
            if self.exchanges(deployment) and not self.failed:
                return None
        return standing

    def lingers(self, deployment: DeploymentId) -> bool:
        """Whether there is still anything of another version."""
        version = self.targets[deployment].version
        return any(r.version != version for r in self.known(deployment).replicas)

    def removed(self) -> list[DeploymentId]:
        """Not wanted any more; callers first."""
        known = [d for d in self._app.known if d not in self.targets]
        rank = {d: i for i, d in enumerate(self.order)}
        return sorted(known, key=lambda d: rank.get(d, -1), reverse=True)
