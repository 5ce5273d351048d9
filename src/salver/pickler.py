"""Pickles users' code, by value where needed, so that it is the same code in another process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType
from typing import Any, Final

import cloudpickle

__all__ = ("CodePickler", "by_value")

# What is only good in the process that made it, and as good when made anew.
_MADE_ANEW: Final = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
}
_NOWHERE: Final = "<dynamic-code>"  # where cloudpickle says that all code is from


class CodePickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Code by value where needed, with the file that it is from; locks are made anew."""

    def reducer_override(self, obj: object) -> Any:
        anew = _MADE_ANEW.get(type(obj))
        if anew is not None:
            return anew, ()
        if isinstance(obj, CodeType):
            kind, parts = self.dispatch_table[CodeType](obj)
            return kind, tuple(obj.co_filename if part == _NOWHERE else part for part in parts)
        if _is_starlette_state(obj):
            # It looks up its own attributes while it is being restored, and does not come back.
            return type(obj), (dict(obj._state),)  # type: ignore[attr-defined]
        reduced = super().reducer_override(obj)
        if isinstance(obj, FunctionType) and isinstance(reduced, tuple):
            _, slots = reduced[2]
            slots["__globals__"].update(_annotated_with(obj))
        return reduced


def _is_starlette_state(obj: object) -> bool:
    kind = type(obj)
    return kind.__name__ == "State" and kind.__module__ == "starlette.datastructures"


def _annotated_with(function: FunctionType) -> dict[str, Any]:
    """The globals that annotations name: with `from __future__ import annotations` they are
    strings, which FastAPI looks up in the process where the function is by then."""
    found = {}
    for annotation in function.__annotations__.values():
        if isinstance(annotation, str):
            with suppress(SyntaxError):
                for name in compile(annotation, "<annotation>", "eval").co_names:
                    if name in function.__globals__:
                        found[name] = function.__globals__[name]
    return found


@contextmanager
def by_value(modules: Iterable[str]) -> Iterator[None]:
    """Within, what these modules define is pickled by value, as `__main__`'s code always is."""
    already = {"__main__", *cloudpickle.list_registry_pickle_by_value()}
    chosen = [sys.modules[name] for name in modules if name in sys.modules and name not in already]
    for module in chosen:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in chosen:
            cloudpickle.unregister_pickle_by_value(module)
