"""Anonymous shared files: made here, opened by a peer through /proc and checked before use."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

__all__ = ("MemFile", "create", "open_peer")

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class MemFile:
    """A descriptor that closes itself when nothing refers to it: a link may just be dropped."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> MemFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()


def create(kind: str, number: int, size: int) -> MemFile:
    """A file of that size for ever; its pages cost nothing before they are touched."""
    file = MemFile(os.memfd_create(_name(kind, number), os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    os.ftruncate(file.fd, size)
    fcntl.fcntl(file.fd, fcntl.F_ADD_SEALS, _SEALS)
    return file


def open_peer(
    pid: int, fd: int, kind: str, number: int, size: int, *, writable: bool = False
) -> MemFile:
    """A peer's file. OSError: not reachable from here; ValueError: not what it was said to be.

    The name holds a random number, so that a pid of another namespace is noticed; the seals keep
    the peer from shrinking it under our mapping.
    """
    path = Path(f"/proc/{pid:d}/fd/{fd:d}")
    wanted = f"/memfd:{_name(kind, number)} (deleted)"
    if str(path.readlink()) != wanted:  # before it is opened: opening a device may block or act
        raise ValueError(f"{path} is not {wanted}")
    file = MemFile(os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC))
    found = str(Path(f"/proc/self/fd/{file.fd}").readlink())
    if found != wanted:
        raise ValueError(f"{path} became {found}, expected {wanted}")
    if fcntl.fcntl(file.fd, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
        raise ValueError(f"{path} may be resized by its owner")
    if os.fstat(file.fd).st_size != size:
        raise ValueError(f"{path} is not of {size} bytes")
    return file


def _name(kind: str, number: int) -> str:
    return f"salver-{kind}-{number:x}"
