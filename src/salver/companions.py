"""From a deployment actor's configuration to a deployment of one replica."""

from __future__ import annotations

import inspect
from typing import Any, Final

from salver.program import Application, deployment
from salver.spec.companions import DeploymentActorConfig

__all__ = ("companion_app",)

# Calls at a time, unless `max_concurrency` says: code that awaits has places where others may run.
ONE: Final = 1
MANY: Final = 1000


def companion_app(config: DeploymentActorConfig, code: Any) -> Application:
    """TypeError, ValueError: its class or its options are not valid, and why."""
    if not inspect.isclass(code):
        raise TypeError(
            f"actor_class={config.actor_class!r} of deployment actor {config.name!r} is not valid: "
            f"expected a class, got {code!r}."
        )
    options = dict(config.actor_options)
    limit = options.pop("max_concurrency", None)
    if limit is None:
        limit = MANY if any(map(_awaits, vars(code).values())) else ONE
    made = deployment(code).options(ray_actor_options=options, max_ongoing_requests=limit)
    return made.bind(*config.init_args, **config.init_kwargs)


def _awaits(member: object) -> bool:
    return inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
