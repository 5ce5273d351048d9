"""POSIX shared memory that a client has made on this machine: found by its key.

It is read and written as a file is, never mapped: its client may make it smaller at any time, and
whoever then touches a mapped page that is gone is killed (SIGBUS).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import finalize

from salver.oip.errors import InvalidMessageError

if TYPE_CHECKING:
    from salver.oip.metadata import SharedMemoryRegion

__all__ = ("Memory",)

_DIRECTORY: Final = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory is found on Linux
_KEY: Final = re.compile(r"/?[A-Za-z0-9_.+-]{1,200}")


class Memory:
    """The memory that a region lies in. InvalidMessageError: it is not there, or too small."""

    def __init__(self, region: SharedMemoryRegion) -> None:
        self._region = region
        self._file = _opened(region.key)
        finalize(self, os.close, self._file)
        self._check()

    def read(self, offset: int, size: int) -> memoryview:
        """A copy of so many bytes of the region. InvalidMessageError: they are gone."""
        found = memoryview(bytearray(size))
        start, done = self._region.offset + offset, 0
        while done < size:
            count = os.preadv(self._file, [found[done:]], start + done)
            if not count:
                self._check()
                raise InvalidMessageError(f"region {self._region.name!r:.60} changes its size")
            done += count
        return found

    def write(self, offset: int, contents: bytes | bytearray | memoryview) -> None:
        """Put these bytes there. InvalidMessageError: there is no room any more."""
        self._check()
        left, start = memoryview(contents).cast("B"), self._region.offset + offset
        try:
            while left:
                count = os.pwrite(self._file, left, start)
                left, start = left[count:], start + count
        except OSError as error:  # no memory is left, say
            raise InvalidMessageError(
                f"region {self._region.name!r:.60} cannot be written: {error.strerror}"
            ) from None

    def _check(self) -> None:
        region = self._region
        size, end = os.fstat(self._file).st_size, region.offset + region.byte_size
        if end > size:
            raise InvalidMessageError(
                f"region {region.name!r:.60} ends at {end}, but its memory has {size} bytes"
            )


def _opened(key: str) -> int:
    if _KEY.fullmatch(key) is None or key.strip("/.") == "":
        raise InvalidMessageError(f"key {key!r:.60} is no name of shared memory")
    try:
        return os.open(_DIRECTORY / key.removeprefix("/"), os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidMessageError(
            f"shared memory {key!r:.60} cannot be opened: {error.strerror}"
        ) from None
