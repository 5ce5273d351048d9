"""FastAPI routes that are methods of a deployment's class, bound to its living instance.

The app that the user made is left as it is: another deployment, or another replica in the same
process, may use it too. What is bound is a shallow copy with routes of its own.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import sys
from collections.abc import Callable, Sequence
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.responses import Response

from salver.errors import SalverError
from salver.replica.encoders import teach_fastapi
from salver.replica.reply import BEHIND, error_reply

if TYPE_CHECKING:
    from fastapi import APIRouter, FastAPI
    from starlette.applications import Starlette

__all__ = ("as_app", "bind_class_routes")

_App = TypeVar("_App", bound="Starlette")
_SETUP = "FastAPI.setup.<locals>."  # the routes of /docs and /openapi.json speak for one app


def as_app(source: Any, instance: Any) -> Callable[..., Any]:
    """The ASGI app to serve: FastAPI apps and routers with the instance's methods, and these and
    Starlette's with answers to what child calls raise; others as they are."""
    if "fastapi" in sys.modules:
        from fastapi import APIRouter, FastAPI

        teach_fastapi()
        if isinstance(source, APIRouter):
            app = FastAPI()
            app.include_router(source)
            return bind_class_routes(app, type(instance), instance)
        if isinstance(source, FastAPI):
            return bind_class_routes(source, type(instance), instance)
    if "starlette.applications" in sys.modules:
        from starlette.applications import Starlette

        if isinstance(source, Starlette):
            return _with_error_handlers(source)
    return source  # type: ignore[no-any-return]


def bind_class_routes(app: FastAPI, cls: type, instance: Any) -> FastAPI:
    """A FastAPI app in which the routes that `cls` and its bases declare call `instance`.

    Routes declared by other classes are not in it; plain functions are. Of two routes for the same
    path and methods, that of the more derived class counts.
    """
    bound = _with_error_handlers(app)
    bound.openapi_schema = None
    bound.router = _copy_router(app.router)
    bound.setup()
    kept = [route for route in app.router.routes if not _is_setup(route)]
    bound.router.routes += _bind_routes(kept, cls, instance, bound)
    return bound


def _bind_routes(routes: Sequence[Any], cls: type, instance: Any, app: FastAPI) -> list[Any]:
    owners = {name: depth for depth, base in enumerate(cls.__mro__) for name in _names_of(base)}
    found: list[tuple[int | None, Any]] = []
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            found.append((None, _bind_included(route, inner, cls, instance, app)))
            continue
        owner = _owner_of(getattr(route, "endpoint", None))
        if owner is None:
            found.append((None, route))
        elif owner in owners:
            found.append((owners[owner], _bind_route(route, instance, app)))
    best: dict[Any, int] = {}
    for depth, route in found:
        if depth is not None:
            best[_place(route)] = min(depth, best.get(_place(route), depth))
    return [route for depth, route in found if depth is None or best[_place(route)] == depth]


def _names_of(cls: type) -> set[tuple[str, str]]:
    """How its own routes may speak of it: a class of a function's body, which travels by value,
    loses where it was defined, and its methods still say it."""
    inside = {
        parent
        for method in vars(cls).values()
        if (parent := _owner_of(method)) and parent[1].rpartition(".")[2] == cls.__name__
    }
    return {(cls.__module__, cls.__qualname__), *inside}


def _place(route: Any) -> tuple[str, frozenset[str]]:
    return route.path, frozenset(getattr(route, "methods", None) or ("websocket",))


def _owner_of(endpoint: Any) -> tuple[str, str] | None:
    """The class in whose body an endpoint was defined, by module and qualified name."""
    qualname, module = (getattr(endpoint, name, "") for name in ("__qualname__", "__module__"))
    parent, _, _ = qualname.rpartition(".")
    if not parent or not module or parent.endswith("<locals>") or inspect.ismethod(endpoint):
        return None
    return module, parent


def _bind_route(route: Any, instance: Any, app: FastAPI) -> Any:
    """The same route for the instance's method: made anew, by the arguments it was made of."""
    endpoint = route.endpoint
    if isinstance(endpoint, staticmethod | classmethod):
        return route
    if not inspect.signature(endpoint).parameters:
        raise SalverError(
            f"{endpoint.__qualname__} is a route of a class and takes no parameters. "
            "Its first parameter must be `self`."
        )
    known = dict(vars(route))
    known["endpoint"] = MethodType(endpoint, instance)
    known["dependency_overrides_provider"] = app
    if known.get("stream_item_type") is not None:
        known.pop("response_model", None)  # both follow from the annotation, but only together
    return type(route)(**{name: known[name] for name in _parameters(type(route)) if name in known})


def _parameters(kind: type) -> list[str]:
    """What the constructor takes by name, where a subclass passes things on to its base, too."""
    names: list[str] = []
    for base in kind.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
        names += [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(dict.fromkeys(name for name in names if name != "self"))


def _bind_included(included: Any, inner: Any, cls: type, instance: Any, app: FastAPI) -> Any:
    """An included router (newer FastAPI keeps it whole) with its class routes bound."""
    if not _has_class_routes(inner):
        return included
    router = _copy_router(inner)
    router.routes += _bind_routes(inner.routes, cls, instance, app)
    context = dataclasses.replace(included.include_context, included_router=router)
    return type(included)(original_router=router, include_context=context)


def _has_class_routes(router: Any) -> bool:
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            if _has_class_routes(inner):
                return True
        elif _owner_of(getattr(route, "endpoint", None)) is not None:
            return True
    return False


def _copy_router(router: APIRouter) -> APIRouter:
    """The same router, without routes."""
    twin = copy.copy(router)
    twin.routes = []
    twin.middleware_stack = _rebound(router.middleware_stack, twin)
    return twin


def _rebound(stack: Any, router: APIRouter) -> Any:
    """The router's middleware around the copy; its innermost part is a method of the original."""
    if inspect.ismethod(stack):
        return router.app
    layer = copy.copy(stack)
    layer.app = _rebound(stack.app, router)
    return layer


def _is_setup(route: Any) -> bool:
    return getattr(getattr(route, "endpoint", None), "__qualname__", "").startswith(_SETUP)


def _with_error_handlers(app: _App) -> _App:
    """The same app, in which errors of child calls get their own status instead of a 500."""
    bound = copy.copy(app)
    bound.exception_handlers = {**dict.fromkeys(BEHIND, _reply), **app.exception_handlers}
    bound.user_middleware = list(app.user_middleware)
    bound.middleware_stack = None
    return bound


async def _reply(_request: Any, error: Exception) -> Response:
    status, headers, body = error_reply(error)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})
