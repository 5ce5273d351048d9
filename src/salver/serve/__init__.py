"""The drop-in spelling: a Ray Serve program says `from salver import serve`, and that is all.

These modules only give the public names of Salver the places where such programs look for them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import salver

if TYPE_CHECKING:
    from salver import *  # noqa: F403
    from salver.api import (
        RunTarget,
        _run,
        _run_many,
        get_deployment_actor,
        get_deployment_actor_context,
        get_trace_context,
        run_many,
        shutdown_async,
    )
    from salver.spec.controller import ControllerOptions
    from salver.spec.familiar import HTTPOptions, TracingConfig

_HOMES: Final = {
    "salver.api": ("RunTarget", "_run", "_run_many", "get_deployment_actor",
                   "get_deployment_actor_context", "get_trace_context", "run_many",
                   "shutdown_async"),
    "salver.spec.controller": ("ControllerOptions",),
    "salver.spec.familiar": ("HTTPOptions", "TracingConfig"),
}  # fmt: skip
_MODULES: Final = ("config", "context", "exceptions", "handle", "metrics", "schema")
__all__ = (
    *salver.__all__,
    "ControllerOptions",
    "HTTPOptions",
    "RunTarget",
    "TracingConfig",
    "_run",
    "_run_many",
    "get_deployment_actor",
    "get_deployment_actor_context",
    "get_trace_context",
    "run_many",
    "shutdown_async",
)


def __getattr__(name: str) -> Any:
    _complete_starlette()
    if name in _MODULES:  # programs say `serve.context...` and import only `serve`
        return import_module(f"salver.serve.{name}")
    home = next((module for module, names in _HOMES.items() if name in names), "salver")
    return getattr(import_module(home), name)


class _Faces(ModuleType):
    """The import system puts each submodule into its package, under its name: `deployment` stays
    the decorator when `salver.serve.deployment` is imported."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "deployment" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """Of modules picklers know only the plain type to go by their names."""
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Faces


def _complete_starlette() -> None:
    """Ray Serve has imported its modules: programs that say `import starlette` alone annotate with
    `starlette.requests.Request`. Those that do not even say that are not made to pay for it.
    """
    if "starlette" in sys.modules and "starlette.requests" not in sys.modules:
        for name in ("requests", "responses", "websockets"):
            import_module(f"starlette.{name}")


def __dir__() -> list[str]:
    return list(__all__)
