"""Slabs never overlap, come back whole, and cost nothing while they lie idle."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.wire import memfd
from salver.wire.arena import Arena, Slab
from salver.wire.board import Board, open_cell
from salver.wire.mapping import Mapping, Mappings
from salver.wire.messages import ArenaNote, Hello

MIB = 1 << 20


@given(st.lists(st.tuples(st.integers(1, 5 * MIB), st.randoms()), max_size=60))
def test_slabs_never_overlap_and_all_of_it_can_be_lent_again(
    steps: list[tuple[int, object]],
) -> None:
    arena = Arena(16 * MIB)
    held: list[Slab] = []
    for size, random in steps:
        slab = arena.lend(size)
        if slab is not None:
            assert len(slab.view) == size
            assert 0 <= slab.offset <= arena.size - size
            for other in held:
                assert (
                    slab.offset + size <= other.offset or other.offset + other.size <= slab.offset
                )
            held.append(slab)
        while held and (slab is None or random.random() < 0.4):  # type: ignore[attr-defined]
            held.pop(random.randrange(len(held))).release()  # type: ignore[attr-defined]
            slab = held[0] if held else None
    for slab in held:
        slab.release()
    assert arena.lent == 0
    whole = arena.lend(16 * MIB)
    assert whole is not None
    assert arena.lend(1) is None
    arena.close()


def test_a_slab_is_free_when_its_last_count_is_released() -> None:
    arena = Arena(MIB)
    slab = arena.lend(MIB)
    assert slab is not None
    slab.retain()
    slab.release()
    assert arena.lend(1) is None
    slab.release()
    assert arena.lend(1) is not None
    with pytest.raises(RuntimeError, match="more often than it was retained"):
        slab.release()
    arena.close()


def test_what_is_too_large_is_not_lent() -> None:
    arena = Arena(4 * MIB)
    assert arena.lend(4 * MIB + 1) is None
    assert arena.note is None or arena.note.size == 4 * MIB
    arena.close()


def test_idle_pages_go_back_to_the_system() -> None:
    calls: list[float] = []
    arena = Arena(4 * MIB, idle_s=0.0)
    arena.call_later = lambda delay, _: calls.append(delay)
    slab = arena.lend(2 * MIB)
    assert slab is not None
    slab.view[:] = b"x" * (2 * MIB)
    assert arena.note is not None
    fd = arena.note.fd
    assert os.fstat(fd).st_blocks * 512 >= 2 * MIB
    slab.release()
    assert calls == [0.0]
    arena.trim()
    assert os.fstat(fd).st_blocks == 0
    assert calls == [0.0]  # nothing is left to trim, so nothing is planned
    arena.close()


def test_a_lease_never_reaches_outside_its_arena() -> None:
    arena = Arena(MIB)
    assert arena.lend(1) is not None
    assert arena.note is not None
    mapping = Mapping(arena.note)
    gone: list[int] = []
    for offset, length in [(MIB - 10, 10), (MIB, 0), (0, MIB), (5, MIB - 5)]:
        view = mapping.lease(1, offset, length, gone.append)
        assert view.nbytes == length
        assert memoryview(view.obj).nbytes <= MIB - offset or length == 0
    for offset, length in [(MIB - 10, 11), (MIB + 1, 0), (0, MIB + 1), (2**64 - 1, 2)]:
        with pytest.raises(ValueError, match="in an arena of"):
            mapping.lease(1, offset, length, gone.append)
    del view
    assert len(gone) == 4
    arena.close()


def test_only_what_was_announced_is_mapped() -> None:
    arena, mappings = Arena(MIB), Mappings()
    assert arena.lend(1) is not None
    note = arena.note
    assert note is not None
    with open("/dev/null", "rb") as other:  # noqa: PTH123
        wrong = [
            ArenaNote(note.arena + 1, note.pid, note.fd, note.size),
            ArenaNote(note.arena, note.pid, other.fileno(), note.size),
            ArenaNote(note.arena, note.pid, 2**20, note.size),
            ArenaNote(note.arena, note.pid, -1, note.size),
            ArenaNote(note.arena, 2**22, note.fd, note.size),
            ArenaNote(note.arena, note.pid, note.fd, note.size * 2),
        ]
        assert [mappings.open(n) for n in wrong] == [None] * len(wrong)
    assert mappings.open(note) is mappings.open(note) is not None
    arena.close()


def test_a_file_that_its_owner_could_shrink_is_not_opened() -> None:
    fd = os.memfd_create("salver-arena-7")
    os.ftruncate(fd, 4096)
    with memfd.MemFile(fd), pytest.raises(ValueError, match="may be resized"):
        memfd.open_peer(os.getpid(), fd, "arena", 7, 4096)


def _hello(board: Board, cell: int, *, wrong: int = 0) -> Hello:
    return Hello(b"", "", "", os.getpid(), board_fd=board.fd, board=board.id + wrong, cell=cell)


def test_every_connection_has_a_cell_of_its_own() -> None:
    board = Board()
    cells = []
    while not board.full:
        cells.append(board.take())
    assert [cell.number for cell in cells] == list(range(512))
    third = open_cell(_hello(board, 3))
    assert third is not None
    assert third.begin(2**40)
    assert (cells[2].begun(), cells[3].begun()) == (2**64 - 1, 2**40)
    assert open_cell(_hello(board, 512)) is None
    assert open_cell(_hello(board, 0, wrong=1)) is None


def test_a_call_that_was_taken_back_does_not_begin() -> None:
    board = Board()
    ours = board.take()
    theirs = open_cell(_hello(board, ours.number))
    assert theirs is not None
    assert theirs.begin(2)
    assert ours.recall(5) == 2
    assert [theirs.begin(call) for call in (3, 5, 6)] == [False, False, True]
    assert ours.begun() == 6


def test_calls_that_begin_out_of_order_count_up_to_the_furthest() -> None:
    board = Board()
    ours = board.take()
    theirs = open_cell(_hello(board, ours.number))
    assert theirs is not None
    assert theirs.begin(7)
    assert theirs.begin(6)
    assert ours.begun() == 7
