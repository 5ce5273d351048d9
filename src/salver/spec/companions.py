"""Deployment actors: objects in processes of their own that all replicas of a deployment share.

Each is a companion: a deployment of one replica, which belongs to another deployment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from salver.spec.ids import DeploymentId, name_fault
from salver.spec.model import ConfigModel

__all__ = ("Companions", "DeploymentActorConfig", "DeploymentActorContext", "check_companions")


class DeploymentActorConfig(ConfigModel):
    """What to make, of a class or its import path, and what its process asks for."""

    name: str
    actor_class: Any
    init_args: tuple[Any, ...] = ()
    init_kwargs: dict[str, Any] = msgspec.field(default_factory=dict)
    actor_options: dict[str, Any] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_fields()
        if fault := name_fault(self.name, "#/"):
            raise ValueError(f"name={self.name!r} of a deployment actor is not valid: {fault}")
        code = getattr(self.actor_class, "func_or_class", self.actor_class)  # it may be decorated
        if not isinstance(code, type | str):
            raise TypeError(
                f"actor_class={self.actor_class!r} of deployment actor {self.name!r} is not valid: "
                "expected a class, or its import path such as 'module:Class'."
            )


Companions = Annotated[
    list[DeploymentActorConfig],
    Meta(
        description="Objects that all its replicas share, each in a process of its own: "
        "`get_deployment_actor(name)`.",
        extra={"change": "restart"},
    ),
]


class DeploymentActorContext(msgspec.Struct, frozen=True):
    """Which deployment actor the running code is of; `deployment_id` is its deployment's."""

    deployment_id: DeploymentId
    actor_name: str
    code_version: str

    @property
    def app_name(self) -> str:
        return self.deployment_id.app

    @property
    def deployment(self) -> str:
        return self.deployment_id.name


def check_companions(configs: Sequence[DeploymentActorConfig]) -> None:
    """ValueError: two of one name."""
    names = [config.name for config in configs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(
            f"deployment_actors has two of the name {min(twice)!r}. Give each a name of its own."
        )
