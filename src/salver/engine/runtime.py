"""The runtime directory: what lies in it, who holds it, and how it is cleared away.

Owner and keeper hold a lock on it for as long as they live. The kernel lets go of it with the last
of them, however they end: so a directory that both have left behind is told from one in use.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from salver.engine.directories import PREFIX, runtimes
from salver.engine.orphans import sweep

__all__ = ("hold_runtime", "make_runtime", "remove_runtime", "sweep_runtimes")

OURS: Final = (
    "control.sock",
    "secret",
    "door.json",
    "state.db",
    "state.db-wal",
    "state.db-shm",
    "salver.lock",
)
_LOCK: Final = "salver.lock"


def make_runtime(place: str | None = None) -> tuple[str, FileIO]:
    """A new directory of mode 0700, and the file that holds it until it is closed."""
    directory = tempfile.mkdtemp(prefix=PREFIX, dir=place or runtimes())
    new = Path(directory, "new.lock")
    lock = FileIO(new, "x")
    fcntl.flock(lock, fcntl.LOCK_SH)
    new.rename(Path(directory, _LOCK))  # nobody may see it before it is held
    return directory, lock


def hold_runtime(instance: str) -> FileIO | None:
    """Hold it, too; None: it has no lock."""
    try:
        lock = FileIO(Path(instance, _LOCK))
    except OSError:
        return None
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def remove_runtime(instance: str) -> None:
    """Remove what Salver made there, and the directory if nothing else is in it."""
    directory = Path(instance)
    for path in (*(directory / name for name in OURS), *directory.glob("r-*.sock")):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()


def sweep_runtimes(place: str | None = None) -> None:
    """End and remove what is left of instances whose owner and keeper were killed together."""
    with suppress(OSError), os.scandir(place or runtimes()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                with suppress(OSError):
                    _sweep(entry)


def _sweep(entry: os.DirEntry[str]) -> None:
    facts = entry.stat(follow_symlinks=False)
    if facts.st_mode != stat.S_IFDIR | 0o700 or facts.st_uid != os.geteuid():
        return
    lock = os.open(Path(entry.path, _LOCK), os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: somebody lives
        if os.fstat(lock).st_nlink:  # else another has swept it just now
            sweep(entry.path)
            remove_runtime(entry.path)
    finally:
        os.close(lock)
