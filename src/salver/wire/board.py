"""Which calls have begun, and which may not begin any more: two numbers in shared memory.

There is such a cell per connection. The callee writes how far it has begun, so that the caller
knows it when the callee has been killed; the caller writes what it has taken back, so that a callee
that was held up does not begin what another has done in the meantime.
"""

from __future__ import annotations

import mmap
import secrets
import threading
from typing import Final

from salver.wire import memfd
from salver.wire.messages import Hello

__all__ = ("UNKNOWN", "Board", "CalleeCell", "CallerCell", "open_cell")

CELLS: Final = 512
_SIZE: Final = 2 * 8 * CELLS
Cells = memoryview | list[int]
UNKNOWN: Final = 2**64 - 1  # nobody writes here: take every call for begun


class Board:
    """Cells that callees and the caller, who made it, share; there also after a callee was killed.

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

    def take(self) -> CallerCell:
        """A cell of one's own."""
        number = self._next
        self._next += 1
        view = self._cells[2 * number : 2 * number + 2]
        view[0] = UNKNOWN
        return CallerCell(self, number, view)


class CallerCell:
    """The caller's side of a cell: reads what has begun, writes what is taken back."""

    __slots__ = ("_cells", "_fence", "board", "number")

    def __init__(self, board: Board, number: int, cells: Cells) -> None:
        self.board = board
        self.number = number
        self._cells = cells
        self._fence = threading.Lock()

    def begun(self) -> int:
        """The last call that began, or UNKNOWN."""
        return self._cells[0]

    def recall(self, up_to: int) -> int:
        """From now on no call up to this one begins; the last one that has all the same.

        Each side writes its own number, then reads the other's. Whichever comes later sees both:
        so of a call that begins at this very moment the callee knows that it may not, or the caller
        that it does, or both, and then the callee says so.
        """
        with self._fence:  # what is written is seen by others before anything else is read
            self._cells[1] = up_to
        return self._cells[0]


class CalleeCell:
    """The callee's side of a cell: writes what begins, reads what was taken back."""

    __slots__ = ("_cells", "_lock")

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._lock = threading.Lock()

    def begin(self, call_id: int) -> bool:
        """This call begins now. False: it must not, the caller has taken it back.

        Calls begin out of their order where threads run them: the furthest is what counts.
        """
        cells = self._cells
        with self._lock:
            if call_id > cells[0]:
                cells[0] = call_id
        return call_id > cells[1]


def open_cell(caller: Hello) -> CalleeCell | None:
    """The callee's side of the cell that a caller offers; None where it cannot be reached."""
    cell = caller.cell
    if not 0 <= cell < CELLS:
        return None
    try:
        with memfd.open_peer(
            caller.pid, caller.board_fd, "board", caller.board, _SIZE, writable=True
        ) as file:
            page = mmap.mmap(file.fd, _SIZE)
    except (OSError, ValueError):
        return None
    view = memoryview(page).cast("Q")[2 * cell : 2 * cell + 2]
    view[0] = 0
    return CalleeCell(view)
