"""Serve models, and the code around them, behind an API.

    import salver

    @salver.deployment
    class Hello:
        def __call__(self, request):
            return "hello"

    app = Hello.bind()      # then: salver run hello:app, or salver.run(app)

The names below are loaded when they are first used, so that every process pays only for its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from salver.version import VERSION

if TYPE_CHECKING:
    from salver.api import (
        delete,
        get_app_handle,
        get_deployment_handle,
        get_multiplexed_model_id,
        get_replica_context,
        run,
        shutdown,
        start,
        status,
    )
    from salver.errors import SalverError
    from salver.oip.types import InferRequest, InferResponse, Tensor
    from salver.program import Application, Deployment, deployment, ingress
    from salver.replica.batching import batch
    from salver.replica.multiplex import multiplexed
    from salver.spec.endpoint import Field, endpoint

__version__ = VERSION
__all__ = (
    "Application",
    "Deployment",
    "Field",
    "InferRequest",
    "InferResponse",
    "SalverError",
    "Tensor",
    "batch",
    "delete",
    "deployment",
    "endpoint",
    "get_app_handle",
    "get_deployment_handle",
    "get_multiplexed_model_id",
    "get_replica_context",
    "ingress",
    "multiplexed",
    "run",
    "shutdown",
    "start",
    "status",
)

_HOMES = {
    "salver.program": ("Application", "Deployment", "deployment", "ingress"),
    "salver.errors": ("SalverError",),
    "salver.oip.types": ("InferRequest", "InferResponse", "Tensor"),
    "salver.replica.multiplex": ("multiplexed",),
    "salver.spec.endpoint": ("Field", "endpoint"),
    "salver.replica.batching": ("batch",),
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = next((m for m, names in _HOMES.items() if name in names), "salver.api")
        value = globals()[name] = getattr(import_module(home), name)
        return value
    raise AttributeError(f"module 'salver' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
