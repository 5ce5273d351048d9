"""The sending half of a connection: frames are gathered, and leave once per read or tick."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from salver.errors import WireError
from salver.wire.assembly import Backlog
from salver.wire.frames import HEADER, HEADER_SIZE, MAX_FRAME, SEG

if TYPE_CHECKING:
    from salver.wire.arena import Slab
    from salver.wire.lending import Buffer, Lending, Posted
    from salver.wire.shared import Limits

__all__ = ("MAX_INLINE", "Sending")

_pack: Final = HEADER.pack

MAX_INLINE: Final = MAX_FRAME - HEADER_SIZE
# Bytes in pieces, above which whoever has more to send had better wait.
_CROWD: Final = 64 << 20
# So much of `_out` (two entries a frame) leaves at once, before the end of the read or tick: the
# peer, on another core, begins to work on it while we go on with the rest.
_BURST: Final = 32


class Sending(asyncio.BufferedProtocol):
    """What `Connection` inherits to write with."""

    __slots__ = (
        "_backlog",
        "_corked",
        "_fd",
        "_lending",
        "_limit",
        "_limits",
        "_loop",
        "_out",
        "_posted",
        "_prompt",
        "_transport",
        "closed",
        "paused",
    )

    _loop: asyncio.AbstractEventLoop
    _transport: asyncio.Transport

    def __init__(self, limits: Limits) -> None:
        self.closed = False
        self.paused = False  # what is sent now waits in memory: the peer reads too slowly
        self._limits = limits
        self._out: list[bytes] = []
        self._lending: Lending | None = None
        self._posted: Sequence[Posted] = ()  # leaves with whatever leaves next
        self._corked = False  # a flush is coming: at the end of this read or of this tick
        self._limit = -1  # payloads up to here go the short way; -1: everything goes the long way
        self._backlog: Backlog | None = None
        self._prompt = False  # the first frame of a tick leaves at once: its reader may be idle
        self._fd = -1  # of our end, while it may be written to directly

    def _use(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        transport.set_write_buffer_limits(high=MAX_FRAME)
        sock = transport.get_extra_info("socket")
        self._fd = -1 if sock is None else sock.fileno()

    @property
    def crowded(self) -> bool:
        """So much waits for the peer already that large answers had better not be added to it.

        The handler's `writable` is called when that has passed.
        """
        return self._backlog is not None and self._backlog.size > _CROWD

    def send(
        self,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes = b"",
    ) -> None:
        """Write one frame; it leaves at the end of this read or tick. Dropped when closed."""
        size = len(payload)
        if size > self._limit:
            self._send_slowly(type, flags, aux, call_id, payload)
            return
        out = self._out
        out.append(_pack(HEADER_SIZE + size, type, flags, aux, call_id))
        if size:
            out.append(payload)
        if not self._corked:
            self._corked = True
            self._loop.call_soon(self._flush)
            if self._prompt:
                self._push()
        elif len(out) > _BURST:
            self._push()

    def send_parts(
        self,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        inline: bytes,
        buffers: Sequence[Buffer | Slab],
    ) -> None:
        """Write one frame with buffers apart: large ones by shared memory where the peer can map
        it. Buffers are copied before this returns; slabs of our arena are lent as they are, and so
        is memory that a third process lent to us. They leave at once: the peer begins to work on
        them while the next are read or made here, which takes longer than a write."""
        if not buffers:
            self.send(type, flags, aux, call_id, inline)
        elif not self.closed:
            table = (self._lending or self._lend()).encode(inline, buffers)
            size = len(table)
            if size > self._limit:
                self._send_slowly(type, flags | SEG, aux, call_id, table)
            else:
                self._out += (_pack(HEADER_SIZE + size, type, flags | SEG, aux, call_id), table)
                self._push()

    def _send_slowly(self, type: int, flags: int, aux: int, call_id: int, payload: bytes) -> None:  # noqa: A002
        if self.closed:
            return
        if self._backlog is None:
            self._backlog = Backlog(self._limits.max_payload)
            self._limit = -1
        if len(payload) <= MAX_INLINE and not self._backlog.holds(call_id):
            self._out.append(_pack(HEADER_SIZE + len(payload), type, flags, aux, call_id))
            self._out.append(payload)
        elif len(payload) > self._limits.max_payload:
            text = f"{len(payload)} bytes for {self.name}, which takes {self._limits.max_payload}."
            self._fail(WireError(text))
            return
        else:
            self._backlog.add(type, flags, aux, call_id, payload)
        if not self._corked:
            self._corked = True
            self._loop.call_soon(self._flush)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._flush()
        self._drained()

    def hurry(self) -> None:
        """Let what was sent so far leave now: somebody waits for it, and more work is to come."""
        if (self._out or self._posted) and not self.closed:
            self._push()

    def _flush(self) -> None:
        self._corked = False
        if self._out:
            self._push()
        if self._backlog is not None:
            self._pump()

    def _push(self) -> None:
        """Give what is gathered to the kernel now.

        The loop's own transport writes at the end of the tick, after everything else in it. It
        gets what the kernel does not take, and while it holds some, all.
        """
        if self._posted:
            self._out += (self._lending or self._lend()).posted()
        data = b"".join(self._out)
        self._out.clear()
        if self._fd >= 0 and not self._transport.get_write_buffer_size():
            try:
                sent = os.write(self._fd, data)
            except OSError:  # full; or broken, which the transport finds out, too
                sent = 0
            if sent == len(data):
                return
            data = data[sent:]
        self._write(data)

    def _write(self, data: bytes) -> None:
        self._transport.write(data)
        if self.paused:
            unsent = self._transport.get_write_buffer_size()
            if unsent > self._limits.max_unsent:
                self._fail(WireError(f"{self.name} does not read: {unsent} bytes wait for it."))

    def _pump(self) -> None:
        """Write of what is in pieces as much as the peer takes, so that small frames pass by."""
        backlog = self._backlog
        while backlog is not None and not self.paused:
            piece = backlog.next()
            if piece is None:
                self._backlog = backlog = None
                self._limit = -1 if self.closed else MAX_INLINE
                self._drained()
            else:
                self._write(piece)

    def _write_all(self) -> None:
        """What waits, in whatever form, goes to the transport: nothing will be sent after it."""
        self._transport.write(b"".join(self._out))
        self._out.clear()
        while self._backlog is not None and (piece := self._backlog.next()):
            self._transport.write(piece)
        self._backlog = None

    def _drop_all(self) -> None:
        self._out.clear()
        self._backlog = None

    # ------------------------------------------------------------------ of the receiving half

    @property
    def name(self) -> str:
        """Who is at the other end."""
        raise NotImplementedError

    def _lend(self) -> Lending:
        raise NotImplementedError

    def _drained(self) -> None:
        raise NotImplementedError

    def _fail(self, error: Exception) -> None:
        raise NotImplementedError
