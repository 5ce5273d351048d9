"""The runtime directory: what lies in it, and how it is cleared away."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

__all__ = ("remove_runtime",)

OURS = ("control.sock", "secret", "state.db", "state.db-wal", "state.db-shm")


def remove_runtime(instance: str) -> None:
    """Remove what Salver made there, and the directory if nothing else is in it."""
    directory = Path(instance)
    for path in (*(directory / name for name in OURS), *directory.glob("r-*.sock")):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        directory.rmdir()
