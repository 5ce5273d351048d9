"""Large buffers of one connection: lent to the peer, or read in the peer's memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Final, TypeAlias
from weakref import ref

import msgspec

from salver.errors import WireError
from salver.wire import frames
from salver.wire.arena import Slab
from salver.wire.frames import ALIGN, HEADER, HEADER_SIZE, LARGE, SEGMENT, SEGMENTS
from salver.wire.mapping import Mapping
from salver.wire.messages import ArenaNote, Hello
from salver.wire.payload import Segments
from salver.wire.token import Token, open_token

if TYPE_CHECKING:
    from pickle import PickleBuffer

    from salver.wire.memfd import MemFile
    from salver.wire.shared import Shared

    Buffer = bytes | bytearray | memoryview | PickleBuffer

__all__ = ("Lending", "Posted")

Posted: TypeAlias = tuple[int, int, int]  # type, aux and call id of a frame from any thread

_MAX_ARENAS: Final = 1024
# When a peer dies that had passed our memory on, nobody can tell us when its readers are done: they
# are given so long. (Their caller is dead, so their work has no receiver any more.)
_LINGER_S: Final = 60.0
_note: Final = msgspec.msgpack.Decoder(ArenaNote)


class Lending:
    """Writes and reads segment tables; keeps what is lent until the peer has given it back."""

    def __init__(
        self,
        shared: Shared,
        peer: Hello,
        loop: asyncio.AbstractEventLoop,
        send: Callable[[int, int, int, int, bytes], None],
        hurry: Callable[[], None],
    ) -> None:
        self._shared = shared
        self._peer = peer
        self._loop = loop
        self._send = send
        self._hurry = hurry
        self._thread = get_ident()
        self._lent: dict[int, Slab | memoryview] = {}
        self._next = 1
        # Arenas that the peer was told of, and whether it maps them. Those of others go with them.
        self._told: dict[int, bool] = {}
        self._passing: dict[int, ref[Mapping]] = {}
        self._heard: dict[int, Mapping] = {}
        self._token: Token | None = None  # theirs to hold while they read what we lent
        self._holding: MemFile | None = None  # and the other way round: gone with us and all leases
        self._passed = False  # we have told the peer that others read what it lent us
        self._read_by_others = False  # and the other way round
        self.unsent: deque[Posted] = deque()
        self._waking = False
        self._closed = False

    # --------------------------------------------------------------------------------- lending

    def encode(self, inline: bytes, buffers: Sequence[Buffer | Slab]) -> bytes:
        """The payload of a SEG frame: table, inline part, and the buffers that are not lent."""
        rows = []
        here: list[bytes | memoryview] = []
        position = SEGMENTS.size + SEGMENT.size * len(buffers) + len(inline)
        for buffer in buffers:
            row = self._lend_slab(buffer) if isinstance(buffer, Slab) else self._lend(_flat(buffer))
            if row is None:
                view = buffer.view if isinstance(buffer, Slab) else _flat(buffer)
                padding = -position % ALIGN
                here += (bytes(padding), view)
                position += padding + view.nbytes
                row = SEGMENT.pack(0, 0, 0, view.nbytes)
            rows.append(row)
        return b"".join((SEGMENTS.pack(len(rows), len(inline)), *rows, inline, *here))

    def _lend_slab(self, slab: Slab) -> bytes | None:
        arena = slab.arena
        if not (self._told.get(arena) or self._accepts(arena, None)):
            return None
        slab.retain()
        return self._row(slab, arena, slab.offset, slab.size)

    def _lend(self, view: memoryview) -> bytes | None:
        if view.nbytes < LARGE:
            return None
        found = self._shared.mappings.find(view)
        if found and self._accepts(found[0].note.arena, found[0]):
            for lending in found[0].heard_by:
                lending.passed_on()
            return self._row(view, found[0].note.arena, found[1], view.nbytes)
        slab = self._copy(view)
        if slab is None:
            return None
        return self._row(slab, slab.arena, slab.offset, view.nbytes)

    def _row(self, held: Slab | memoryview, arena: int, offset: int, size: int) -> bytes:
        number = self._next
        self._next = number + 1
        self._lent[number] = held
        return SEGMENT.pack(arena, number, offset, size)

    def _copy(self, view: memoryview) -> Slab | None:
        arena = self._shared.arena
        if arena.note is not None and not self._accepts(arena.id, None):
            return None
        slab = arena.lend(view.nbytes)
        if slab is None:
            return None
        if not self._accepts(arena.id, None):  # the very first: not before it was made
            slab.release()
            return None
        slab.view[:] = view
        return slab

    def _accepts(self, arena: int, mapping: Mapping | None) -> bool:
        """Whether the peer has mapped it; if it was never asked, it is now."""
        known = self._told.get(arena)
        if known is not None:
            return known
        self._told[arena] = False
        if self._peer.pid == os.getpid() and mapping is None:
            return False  # nothing could tell us when readers in our own process are done
        if mapping is not None:
            self._passing[arena] = ref(
                mapping, lambda _: self._post(frames.ARENA, frames.GONE, arena)
            )
        note = self._shared.arena.note if mapping is None else mapping.note
        if note is not None and self._has_token():
            self._send(frames.ARENA, 0, frames.NOTE, arena, msgspec.msgpack.encode(note))
        return False

    def _has_token(self) -> bool:
        if self._token is None:
            try:
                self._token = Token()
            except OSError:  # no descriptor is left for it: all goes by the socket
                return False
            self._send(frames.ARENA, 0, frames.TOKEN, *self._token.note)
        return True

    def passed_on(self) -> None:
        """A third process reads what the peer lent us: it must know, as we may die first."""
        if not self._passed:
            self._passed = True
            self._send(frames.FREE, 0, frames.PASSED, 0, b"")

    def free(self, aux: int, number: int) -> None:
        """FREE came: the peer reads this lease no more."""
        if aux == frames.PASSED:
            self._read_by_others = True
            return
        held = self._lent.pop(number, None)
        if held is None:
            raise WireError(f"FREE of lease {number}, which is not lent.")
        if isinstance(held, Slab):
            held.release()

    # --------------------------------------------------------------------------------- reading

    def arena(self, aux: int, arena: int, payload: bytes) -> None:
        """ARENA came: memory that the peer lends from, or its answer about ours."""
        if aux == frames.GONE:
            self._heard.pop(arena, None)  # leases that are still read keep it
            return
        if aux == frames.TOKEN:
            with contextlib.suppress(OSError, ValueError):  # then nothing is mapped
                self._holding = open_token(self._peer.pid, arena, payload)
            return
        if aux != frames.NOTE:
            if arena not in self._told or self._token is None:
                raise WireError("ARENA answers a note that was never sent.")
            self._token.taken()
            self._told[arena] = aux == frames.MAPPED
            return
        try:
            note = _note.decode(payload)
        except msgspec.MsgspecError as error:
            raise WireError(f"ARENA holds no note: {error}") from None
        if len(self._heard) >= _MAX_ARENAS:
            raise WireError(f"More than {_MAX_ARENAS} arenas on one connection.")
        unfit = note.arena == self._shared.arena.id or self._holding is None
        mapping = None if unfit else self._shared.mappings.open(note)
        if mapping is not None:
            self._heard[note.arena] = mapping
            mapping.heard_by.add(self)
        answer = frames.REFUSED if mapping is None else frames.MAPPED
        self._send(frames.ARENA, 0, answer, note.arena, b"")

    def decode(self, payload: bytes) -> Segments:
        """The parts of a SEG frame. WireError: the table does not fit what came."""
        size = len(payload)
        if size < SEGMENTS.size:
            raise WireError("A segment table is cut short.")
        count, inline = SEGMENTS.unpack_from(payload)
        position = SEGMENTS.size + SEGMENT.size * count
        if position + inline > size:
            raise WireError(f"A segment table of {count} parts in a payload of {size} bytes.")
        body = payload[position : position + inline]
        position += inline
        whole = memoryview(payload)
        buffers = []
        for row in range(count):
            arena, number, offset, length = SEGMENT.unpack_from(
                payload, SEGMENTS.size + SEGMENT.size * row
            )
            if arena:
                mapping = self._heard.get(arena)
                if mapping is None:
                    raise WireError(f"A segment in arena {arena:x}, which this link did not map.")
                try:
                    buffers.append(mapping.lease(number, offset, length, self._give_back))
                except ValueError as error:
                    raise WireError(f"A segment lies outside its arena: {error}.") from None
                continue
            position += -position % ALIGN
            if length > size - position:
                raise WireError(f"A segment of {length} bytes in a payload of {size}.")
            buffers.append(whole[position : position + length])
            position += length
        return Segments(body, buffers)

    def _give_back(self, number: int) -> None:
        self._post(frames.FREE, frames.UNREAD, number)

    def _post(self, kind: int, aux: int, number: int) -> None:
        """Called in any thread, also by the garbage collector in the middle of anything."""
        self.unsent.append((kind, aux, number))
        if self._waking or self._closed:
            return
        self._waking = True
        try:  # not `suppress`: this is done for every large request
            if get_ident() == self._thread:
                self._loop.call_soon(self._send_posted)
            else:
                self._loop.call_soon_threadsafe(self._send_posted)
        except RuntimeError:  # the loop is closed, and the link with it
            return

    def _send_posted(self) -> None:
        self._waking = False  # before the queue is emptied: what comes now wakes us again
        if self.unsent:
            self._hurry()

    def posted(self) -> list[bytes]:
        """The frames that wait to be sent; they wait no more."""
        ready = []
        while self.unsent:
            kind, aux, number = self.unsent.popleft()
            if aux == frames.GONE:
                del self._told[number], self._passing[number]
            ready.append(HEADER.pack(HEADER_SIZE, kind, 0, aux, number))
        return ready

    def close(self) -> None:
        """The connection is gone; what the peer holds stays lent as long as it reads any of it."""
        self._closed = True
        self._heard.clear()
        self._passing.clear()
        lent, self._lent = self._lent, {}
        if self._token is not None:
            self._shared.keep_while_read(
                self._loop,
                self._token,
                [held.release for held in lent.values()],
                linger_s=_LINGER_S if self._read_by_others else 0.0,
            )


def _flat(buffer: Buffer) -> memoryview:
    view = memoryview(buffer)
    if not view.nbytes:
        return memoryview(b"")
    if not view.c_contiguous:
        return memoryview(view.tobytes())
    return view if view.ndim == 1 and view.format == "B" else view.cast("B")
