"""Payloads larger than a frame: cut into pieces by the sender, put together by the receiver."""

from __future__ import annotations

import io
from collections import deque
from typing import Final

from salver.errors import WireError
from salver.wire.frames import HEADER, HEADER_SIZE, MAX_FRAME, MORE

__all__ = ("Assembly", "Backlog")

_PIECE: Final = MAX_FRAME - HEADER_SIZE
# Bytes of payloads that leave in turns, and that the receiver so has in part, at a time.
_ABREAST: Final = 64 << 20


class Assembly:
    """What has arrived of payloads in pieces. Memory grows only with what arrives."""

    __slots__ = ("_bound", "_parts", "_size")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._parts: dict[tuple[int, int], io.BytesIO] = {}
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, kind: int, call_id: int, piece: bytes) -> None:
        """A piece after which more follow."""
        self._size += len(piece)
        if self._size > self._bound:
            raise WireError(f"A payload in pieces exceeds {self._bound} bytes.")
        if not piece:
            raise WireError("An empty piece of a payload.")
        part = self._parts.get((kind, call_id))
        if part is None:
            part = self._parts[kind, call_id] = io.BytesIO()
        part.write(piece)

    def complete(self, kind: int, call_id: int, piece: bytes) -> bytes:
        """The whole payload that ends with this piece: it alone, when none came before it."""
        part = self._parts.pop((kind, call_id), None)
        if part is None:
            return piece
        self._size -= part.tell()
        if self._size + part.tell() + len(piece) > self._bound:
            raise WireError(f"A payload in pieces exceeds {self._bound} bytes.")
        part.write(piece)
        return part.getvalue()


class Backlog:
    """Payloads that leave in pieces, and what was sent after them for the same call.

    They take turns, as many as the receiver is to put together at a time; the others wait behind.
    """

    __slots__ = ("_abreast", "_bound", "_in_turns", "_waiting", "size")

    def __init__(self, bound: int) -> None:
        """`bound`: bytes that the receiver puts together."""
        self.size = 0
        self._bound = bound
        self._abreast = 0  # bytes of those in turns
        self._in_turns: dict[int, deque[_Job]] = {}
        self._waiting: dict[int, deque[_Job]] = {}

    def holds(self, call_id: int) -> bool:
        """Whether frames of this call wait, so that later ones must queue behind them."""
        return call_id in self._in_turns or call_id in self._waiting

    def add(self, kind: int, flags: int, aux: int, call_id: int, payload: bytes) -> None:
        self.size += len(payload)
        job = _Job(kind, flags, aux, payload)
        if call_id in self._in_turns:
            self._abreast += len(payload)
            self._in_turns[call_id].append(job)
        else:
            self._waiting.setdefault(call_id, deque()).append(job)
            self._let_in()

    def next(self) -> bytes | None:
        """The next frame to write; None when nothing waits."""
        if not self._in_turns:
            return None
        call_id = next(iter(self._in_turns))
        jobs = self._in_turns.pop(call_id)
        job = jobs[0]
        frame = job.next(call_id)
        if job.position >= len(job.payload):
            jobs.popleft()
            self.size -= len(job.payload)
            self._abreast -= len(job.payload)
        if jobs:
            self._in_turns[call_id] = jobs  # at the end: the others come first now
        if self._waiting:
            self._let_in()
        return frame

    def _let_in(self) -> None:
        """Let those that wait have turns, as far as there is room: the longest waiting first."""
        while self._waiting:
            call_id, jobs = next(iter(self._waiting.items()))
            size = sum(len(job.payload) for job in jobs)
            # Beside one that is very large, another one has its turns.
            room = self._bound if len(self._in_turns) < 2 else min(_ABREAST, self._bound)
            if self._in_turns and self._abreast + size > room:
                return
            del self._waiting[call_id]
            self._in_turns[call_id] = jobs
            self._abreast += size


class _Job:
    __slots__ = ("aux", "flags", "kind", "payload", "position")

    def __init__(self, kind: int, flags: int, aux: int, payload: bytes) -> None:
        self.kind = kind
        self.flags = flags
        self.aux = aux
        self.payload = payload
        self.position = 0

    def next(self, call_id: int) -> bytes:
        piece = self.payload[self.position : self.position + _PIECE]
        self.position += _PIECE
        more = MORE if self.position < len(self.payload) else 0
        header = HEADER.pack(
            HEADER_SIZE + len(piece), self.kind, self.flags | more, self.aux, call_id
        )
        return header + piece
