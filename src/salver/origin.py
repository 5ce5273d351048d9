"""Where code comes from: the name by which other processes find it, and whether it is installed."""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

__all__ = ("importable", "is_installed", "is_program", "leads_to", "mark_programs", "own_modules")

_STDLIB: Final = sysconfig.get_path("stdlib") + os.sep
_PACKAGES: Final = frozenset({"site-packages", "dist-packages"})  # of whichever environment
_PROGRAM: Final = "__salver_program__"  # what a module is called that runs apps as it is imported


def importable(module: str) -> bool:
    """Whether another process, with the same `sys.path`, can import the module by its name.

    A program cannot be: where a replica imported it, it would be run once more.
    """
    loaded = sys.modules.get(module)
    spec = getattr(loaded, "__spec__", None)
    if module == "__main__" or spec is None or hasattr(loaded, _PROGRAM):
        return False
    found = _searched(module)
    return found is not None and found.origin == spec.origin


def mark_programs() -> None:
    """The modules whose own lines, and no function of theirs, have led to this call."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            frame.f_globals[_PROGRAM] = True
        frame = frame.f_back


def is_program(module: str) -> bool:
    """Whether it is a module that runs apps as it is imported."""
    return module != "__main__" and hasattr(sys.modules.get(module), _PROGRAM)


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


def is_installed(module: str) -> bool:
    """Whether it is no code of the user's own, and the same in every process."""
    if module.partition(".")[0] == "salver":  # also where it runs from a checkout
        return True
    file = getattr(sys.modules[module], "__file__", None)
    if file is None or str(file).startswith(_STDLIB):
        return True
    return not _PACKAGES.isdisjoint(Path(file).parts)


def own_modules() -> list[str]:
    """Those of the user's that are loaded: all that are not installed."""
    return [
        name
        for name, loaded in list(sys.modules.items())
        if isinstance(loaded, ModuleType) and loaded.__name__ == name and not is_installed(name)
    ]
