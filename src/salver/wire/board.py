"""Which calls had begun when their replica died: one number per connection, in shared memory."""

from __future__ import annotations

import mmap
import secrets
from typing import Final

from salver.wire import memfd

__all__ = ("UNKNOWN", "Board", "open_cell")

CELLS: Final = 512
_SIZE: Final = 8 * CELLS
UNKNOWN: Final = 2**64 - 1  # nobody writes here: take every call for begun


class Board:
    """Cells that callees write and the caller, who made it, reads, also after a callee was killed.

    No cell is given out twice: a callee that outlives its connection would write another's.
    """

    def __init__(self) -> None:
        self.id = secrets.randbits(63)
        self._file = memfd.create("board", self.id, _SIZE)
        self._map = mmap.mmap(self._file.fd, _SIZE)
        self._cells = memoryview(self._map).cast("Q")
        self._next = 0

    @property
    def fd(self) -> int:
        return self._file.fd

    @property
    def full(self) -> bool:
        """Every cell was given out: make another board."""
        return self._next == CELLS

    def take(self) -> int:
        """A cell of one's own."""
        cell = self._next
        self._next += 1
        self._cells[cell] = UNKNOWN
        return cell

    def read(self, cell: int) -> int:
        """The last call that began, or UNKNOWN."""
        return self._cells[cell]


def open_cell(pid: int, fd: int, board: int, cell: int) -> memoryview | None:
    """The caller's cell, as a view of one number to write; None where it cannot be reached."""
    if not 0 <= cell < CELLS:
        return None
    try:
        with memfd.open_peer(pid, fd, "board", board, _SIZE, writable=True) as file:
            page = mmap.mmap(file.fd, _SIZE)
    except (OSError, ValueError):
        return None
    view = memoryview(page).cast("Q")[cell : cell + 1]
    view[0] = 0
    return view
