"""Names of things: one type and one spelling each."""

from __future__ import annotations

import msgspec

__all__ = ("DeploymentId", "ReplicaId")


class DeploymentId(msgspec.Struct, frozen=True, order=True):
    """A deployment's name within its app."""

    name: str
    app: str = "default"

    @property
    def app_name(self) -> str:
        return self.app

    def __str__(self) -> str:
        return f"{self.app}#{self.name}" if self.app else self.name


class ReplicaId(msgspec.Struct, frozen=True, order=True):
    """One running copy of a deployment."""

    unique_id: str
    deployment_id: DeploymentId

    @classmethod
    def parse(cls, text: str) -> ReplicaId:
        """Read `app#deployment#unique`."""
        app, name, unique = text.rsplit("#", 2)
        return cls(unique, DeploymentId(name, app))

    def __str__(self) -> str:
        return f"{self.deployment_id}#{self.unique_id}"
