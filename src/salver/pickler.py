"""Pickles users' code, by value where needed, so that it is the same code in another process."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

import cloudpickle

__all__ = ("CodePickler", "by_value", "importable", "is_installed", "leads_to")

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


# ---- what can be imported need not be pickled


def importable(module: str) -> bool:
    """Whether another process, with the same `sys.path`, can import the module by its name."""
    spec = getattr(sys.modules.get(module), "__spec__", None)
    if module == "__main__" or spec is None:
        return False
    found = _searched(module)
    return found is not None and found.origin == spec.origin


def _searched(module: str) -> ModuleSpec | None:
    """What an import would find. Tests and notebooks load modules that no import finds."""
    spec, path = None, None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        specs = (finder.find_spec(name, path) for finder in sys.meta_path)
        spec = next((found for found in specs if found is not None), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec


def leads_to(module: str, qualname: str, code: object) -> bool:
    """Whether the name leads to this very code, or to a deployment made of it."""
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found is code or getattr(found, "func_or_class", None) is code


@contextmanager
def by_value(module: str, *, always: bool = False) -> Iterator[None]:
    """Within, what this module defines is pickled by value if no other process can import it."""
    loaded = sys.modules.get(module)
    if (
        loaded is None
        or module == "__main__"  # which is by value anyway
        or module in cloudpickle.list_registry_pickle_by_value()
        or (importable(module) and not always)
    ):
        yield
        return
    cloudpickle.register_pickle_by_value(loaded)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(loaded)


def is_installed(module: str) -> bool:
    """Whether it is no code of the user's own, and the same in every process."""
    if module.partition(".")[0] == "salver":  # also where it runs from a checkout
        return True
    file = getattr(sys.modules[module], "__file__", None)
    places = (sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib"))
    return file is None or any(Path(file).is_relative_to(place) for place in places)
