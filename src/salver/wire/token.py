"""A token that a peer holds while it reads what it was lent: its end is seen, however it comes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from salver.wire.memfd import MemFile

__all__ = ("Token", "open_token")

_FLAGS: Final = os.O_CLOEXEC | os.O_NONBLOCK


class Token:
    """A pipe through which nothing goes. The peer opens the end to write to, and when it has closed
    that, or died, ours is at its end."""

    __slots__ = ("_end", "_loop", "_theirs")

    def __init__(self) -> None:
        ours, theirs = os.pipe2(_FLAGS)
        self._end = MemFile(ours)
        self._theirs = MemFile(theirs)
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def note(self) -> tuple[int, bytes]:
        """By what number, in our process, and by what name the peer finds it."""
        return self._theirs.fd, _name(os.getpid(), self._theirs.fd)

    def taken(self) -> None:
        """The peer has opened it, or never will."""
        self._theirs.close()

    def watch(self, loop: asyncio.AbstractEventLoop, let_go: Callable[[], object]) -> None:
        """Call this once the peer holds it no more."""
        self.taken()
        self._loop = loop

        def ended() -> None:
            self.close()
            let_go()

        loop.add_reader(self._end.fd, ended)

    def close(self) -> None:
        """Watch no more."""
        if self._loop is not None:
            self._loop.remove_reader(self._end.fd)
            self._loop = None
        self._end.close()
        self._theirs.close()


def open_token(pid: int, fd: int, name: bytes) -> MemFile:
    """A peer's token. OSError: not reachable from here; ValueError: it is something else there."""
    found = _name(pid, fd)
    if found != name or not found.startswith(b"pipe:"):
        raise ValueError(f"descriptor {fd} of process {pid} is {found!r}, and no token {name!r}")
    return MemFile(os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | _FLAGS))


def _name(pid: int, fd: int) -> bytes:
    return bytes(Path(f"/proc/{pid}/fd/{fd}").readlink())
