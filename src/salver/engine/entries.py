"""Entry points by name, imported once in the keeper so that every fork has them already."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable

from salver.engine.config import KeeperConfig
from salver.engine.process import Entry
from salver.errors import EngineError

__all__ = ("Entries",)


class Entries:
    """Kind -> `main(seat)`, imported when it is first asked for."""

    def __init__(self, config: KeeperConfig) -> None:
        self._config = config
        self._found: dict[str, Entry] = {}

    def preload(self) -> None:
        """Import and call what has to come before all entries; EngineError shows what failed."""
        for name in self._config.preload:
            if ":" in name:
                _resolve("preload", name)()
            else:
                _import(name)

    def find(self, kind: str) -> Entry:
        """EngineError: there is none, or what failed while it was imported."""
        if kind not in self._found:
            name = self._config.entries.get(kind)
            if name is None:
                known = ", ".join(sorted(self._config.entries)) or "none"
                raise EngineError(f"No entry point for a process of kind {kind!r}. Known: {known}.")
            self._found[kind] = _resolve(kind, name)
        return self._found[kind]


def _resolve(kind: str, name: str) -> Callable[..., None]:
    module, colon, attribute = name.partition(":")
    if not colon:
        raise EngineError(f"Entry point {name!r} of {kind!r} must be written 'module:function'.")
    entry = getattr(_import(module), attribute, None)
    if not callable(entry):
        raise EngineError(f"Entry point {name!r} of {kind!r}: {module} has no such function.")
    return entry  # type: ignore[no-any-return]


def _import(module: str) -> object:
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise EngineError(f"Cannot import {module!r}:\n{traceback.format_exc()}") from error
