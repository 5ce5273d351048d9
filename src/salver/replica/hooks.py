"""The life of the user's object: made, configured, asked how it is, ended. Not its requests."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from typing import Any, Final, cast

from salver.errors import SalverError
from salver.replica.context import ReplicaContext
from salver.replica.invoke import call_hook

__all__ = ("check_health", "construct", "destroy", "end_model", "reconfigure", "takes_rank")

_ENDS: Final = ("__del__", "aclose", "close")


async def construct(
    code: type, context: ReplicaContext, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Make the object; `__init__` may be `async`, and may ask for the replica's context."""
    if type(code).__call__ is not type.__call__:  # a metaclass of the user's makes the object
        made = code(*args, **kwargs)
        context.servable_object = made
        return made
    made = cast("Any", code).__new__(code, *args, **kwargs)
    context.servable_object = made
    if isinstance(made, code):
        waits = cast("Any", code).__init__(made, *args, **kwargs)
        if waits is not None:
            await waits
    return made


async def reconfigure(target: Any, context: ReplicaContext, user_config: Any) -> None:
    """Give the object its configuration, and its rank where it asks for that."""
    hook = getattr(target, "reconfigure", None)
    if not callable(hook):
        raise SalverError(
            f"Deployment {context.deployment} has a user_config and no method to take it. "
            "Define `reconfigure(self, user_config)`, or leave out user_config."
        )
    await call_hook(hook, user_config, *((context.rank,) if takes_rank(target) else ()))


def takes_rank(target: Any) -> bool:
    """Whether the object wants to hear of its rank."""
    hook = getattr(target, "reconfigure", None)
    return callable(hook) and "rank" in inspect.signature(hook).parameters


async def check_health(target: Any, limit_s: float) -> bool:
    """Raise what the object's `check_health` raises, or that it took too long.

    False: it has none, and that this was answered says all there is to say.
    """
    hook = getattr(target, "check_health", None)
    if not callable(hook):
        return False
    try:
        async with asyncio.timeout(limit_s) as limit:
            await call_hook(hook)
    except TimeoutError:
        if not limit.expired():  # the user's own
            raise
        raise SalverError(
            f"check_health took longer than {limit_s:g}s. (The limit is health_check_timeout_s.)"
        ) from None
    return True


async def destroy(target: Any) -> None:
    """Run `__del__`.

    It is called and not left to the garbage collector: an ASGI app bound to the object is a cycle,
    and the process may end before that is found.
    """
    destructor = getattr(type(target), "__del__", None)
    if destructor is not None:
        waits = destructor(target)
        if waits is not None:
            await waits
        _disarm(target)


async def end_model(model: Any) -> None:
    """Call the model's `__del__`, or without one its `aclose` or `close`; each may be async."""
    for name in _ENDS:
        if callable(getattr(type(model), name, None)):
            try:
                await call_hook(getattr(model, name))
            finally:
                if name == "__del__":
                    _disarm(model)
            return


def _disarm(target: Any) -> None:
    """Keep the interpreter from calling `__del__` once more when the object goes."""
    kind = type(target)
    with contextlib.suppress(TypeError):  # objects of an unusual layout only get a warning
        target.__class__ = type(
            kind.__name__, (kind,), {"__slots__": (), "__del__": lambda _self: None}
        )
