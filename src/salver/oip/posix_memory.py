"""POSIX shared memory that a client has made on this machine: found by its key."""

from __future__ import annotations

import mmap
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from salver.oip.errors import InvalidMessageError

if TYPE_CHECKING:
    from salver.oip.metadata import SharedMemoryRegion

__all__ = ("check", "mapped")

_DIRECTORY: Final = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is found on Linux
_KEY: Final = re.compile(r"/?[A-Za-z0-9_.+-]{1,200}")


def check(region: SharedMemoryRegion) -> None:
    """InvalidMessageError, unless the region is there and as large as it is said to be."""
    with _opened(region) as file:
        _size(region, file)


def mapped(region: SharedMemoryRegion) -> memoryview:
    """The region's bytes themselves. InvalidMessageError as for `check`."""
    with _opened(region) as file:
        whole = mmap.mmap(file.fileno(), _size(region, file))
    return memoryview(whole)[region.offset : region.offset + region.byte_size]


def _opened(region: SharedMemoryRegion) -> BinaryIO:
    if _KEY.fullmatch(region.key) is None or region.key.strip("/.") == "":
        raise InvalidMessageError(f"key {region.key!r:.60} is no name of shared memory")
    try:
        return (_DIRECTORY / region.key.removeprefix("/")).open("r+b")
    except OSError as error:
        raise InvalidMessageError(
            f"shared memory {region.key!r:.60} cannot be opened: {error.strerror}"
        ) from None


def _size(region: SharedMemoryRegion, file: BinaryIO) -> int:
    size, end = file.seek(0, 2), region.offset + region.byte_size
    if not size or end > size:
        raise InvalidMessageError(
            f"region {region.name!r:.60} ends at {end}, but its memory has {size} bytes"
        )
    return size
