"""Changes of files, and a process that forgets what it had imported."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from watchfiles import Change, PythonFilter, awatch

from salver.origin import is_installed

__all__ = ("changed_files", "changes")


async def changes(directory: str) -> AsyncIterator[list[str]]:
    """The names of what changed, burst by burst; modules from there are forgotten before each."""
    root = _root(directory)
    async for burst in awatch(root, watch_filter=PythonFilter(), debounce=200, step=50):
        forget(root)
        yield sorted({str(Path(path).relative_to(root)) for _, path in burst})


async def changed_files(directories: list[str], file: str) -> AsyncIterator[list[str]]:
    """The paths of what changed, burst by burst: Python files below the directories, or `file`."""
    python = PythonFilter()
    folders = {_root(directory) for directory in (*directories, str(Path(file).parent))}
    own = str(_root(file))

    def concerns(change: Change, path: str) -> bool:
        return path == own or python(change, path)

    async for burst in awatch(*folders, watch_filter=concerns, debounce=200, step=50):
        yield sorted({path for _, path in burst})


def _root(path: str) -> Path:
    return Path(path).absolute()


def forget(root: Path) -> None:
    """Let the next import of every module below `root` read its file again.

    What is installed stays, also from an environment that lies there: extensions in C cannot be
    imported twice, and two Salvers in one process would not know each other's apps.
    """
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        below = name != "__main__" and file and Path(file).is_relative_to(root)
        if below and not is_installed(name):
            del sys.modules[name]
    importlib.invalidate_caches()
