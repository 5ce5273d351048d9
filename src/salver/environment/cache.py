"""Folders that are made once, by whichever process comes first, and kept."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ("is_filled", "locked_folder")


@contextmanager
def locked_folder(path: Path) -> Iterator[tuple[Path, bool]]:
    """The folder, and whether it is yours to fill. Others wait; half-filled ones start anew."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_filled(path):
        yield path, False
        return
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_filled(path):
            yield path, False
            return
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        yield path, True
        _done(path).touch()


def is_filled(path: Path) -> bool:
    """Whether the folder is there, and complete."""
    return _done(path).exists()


def _done(path: Path) -> Path:
    return path.with_name(f"{path.name}.done")
