"""Chooses a replica for each call, in the process where the call starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from salver.client.call import Call
from salver.spec.ids import DeploymentId
from salver.spec.status import DeploymentView

if TYPE_CHECKING:
    from salver.client.cluster import Cluster

__all__ = ("Router", "RouterStats")


@dataclass(frozen=True, slots=True)
class RouterStats:
    """A router at one moment."""

    replicas: int  # that take calls
    queued: int
    inflight: int


class Router:
    """Gives calls to the replicas of one deployment; the excess waits here, longest first."""

    def __init__(self, deployment: DeploymentId, cluster: Cluster, *, eager: bool = False) -> None:
        self.deployment = deployment
        self.cluster = cluster
        self.eager = eager

    def submit(self, call: Call) -> None:
        """Send the call to a replica now, or when a slot is free. Home loop only.

        A call that cannot be taken is told so by `call.failed(error)`, perhaps at once.
        """
        raise NotImplementedError

    def cancel(self, call: Call) -> None:
        """Drop the call, wherever it is. It is told nothing further; harmless when it is done."""
        raise NotImplementedError

    def update(self, view: DeploymentView) -> None:
        """The deployment is now like this."""
        raise NotImplementedError

    def stats(self) -> RouterStats:
        raise NotImplementedError
