"""One framed stream between two processes, either side of it. The hot path of everything."""

from __future__ import annotations

import asyncio
import hmac
import logging
from typing import Final, Protocol, cast

import msgspec

from salver.errors import WireError
from salver.wire import frames
from salver.wire.assembly import Assembly
from salver.wire.board import UNKNOWN, CalleeCell, CallerCell, open_cell
from salver.wire.frames import HEADER, HEADER_SIZE, MAX_FRAME, MORE, SEG
from salver.wire.lending import Lending
from salver.wire.messages import PROTOCOL, Hello
from salver.wire.payload import Segments
from salver.wire.sending import MAX_INLINE, Sending
from salver.wire.shared import Shared

__all__ = ("Connection", "FrameHandler")

_pack: Final = HEADER.pack
_unpack_from: Final = HEADER.unpack_from
_hello: Final = msgspec.msgpack.Decoder(Hello)
_log: Final = logging.getLogger("salver.wire")

_MAX_HELLO: Final = HEADER_SIZE + 4096
_SMALL_TAIL: Final = 8 * 1024  # an unfinished frame up to here is kept and read again with its rest
_APART: Final = SEG | MORE
_INTERNAL: Final = frozenset({frames.HELLO, frames.ARENA, frames.FREE})
# Whether a frame of this type goes straight to the handler.
_PLAIN: Final = bytes(frames.HELLO <= t <= frames.RPC and t not in _INTERNAL for t in range(256))
_NONE_PLAIN: Final = bytes(256)


class FrameHandler(Protocol):
    """What happens to a connection. Everything is called on its loop, nothing after `closed`."""

    def opened(self, conn: Connection) -> None:
        """Both HELLOs were seen and the secret is good. Neither of the others comes before."""

    def frame(
        self,
        conn: Connection,
        type: int,  # noqa: A002 - the word of frames.py
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        """One frame, put together where it came in parts."""

    def closed(self, conn: Connection, error: Exception | None) -> None:
        """The end of an opened connection; `error` is None when either side just closed it."""

    def writable(self, conn: Connection) -> None:
        """`paused`, or `crowded`, is False again."""


class Connection(Sending):
    """Sends and receives frames. Made by `Dialler`; usable from `opened` until `closed`."""

    __slots__ = (
        "__weakref__",
        "_assembly",
        "_begun",
        "_body",
        "_error",
        "_filled",
        "_head",
        "_hello",
        "_max_frame",
        "_mine",
        "_plain",
        "_scratch",
        "_secret",
        "_shared",
        "_tail",
        "_timer",
        "board_begun",
        "dialled",
        "handler",
        "peer",
        "ready",
        "reason",
    )

    def __init__(
        self,
        handler: FrameHandler,
        hello: Hello,
        *,
        secret: bytes,
        dialled: bool,
        shared: Shared | None = None,
    ) -> None:
        shared = shared or Shared()
        super().__init__(shared.limits)
        self.handler = handler
        self.dialled = dialled
        self._prompt = not dialled  # answers; calls come in bursts, `hurry` is for a single one
        self.peer: Hello | None = None
        self.reason = ""
        self.ready: asyncio.Future[None] | None = None  # set by who waits for both HELLOs
        self._hello = hello
        self._secret = secret
        self._shared = shared
        self._scratch = shared.scratch
        self._plain = _NONE_PLAIN
        self._max_frame = _MAX_HELLO
        self._tail = b""
        self._body: bytearray | None = None  # a large frame that is received where it will lie
        self._filled = 0
        self._head = (0, 0, 0, 0)
        self._assembly: Assembly | None = None
        self._mine: CallerCell | None = None
        self._begun = UNKNOWN
        # Callee: user code of this call begins, as is seen if we are killed now. False: do not.
        self.board_begun = CalleeCell([0, 0]).begin
        self._error: Exception | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """Who is at the other end."""
        return "a stranger" if self.peer is None else f"{self.peer.role} {self.peer.name}"

    # --------------------------------------------------------------------------------- reading

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        if self._body is not None:
            return memoryview(self._body)[self._filled :]
        tail = self._tail
        if tail:
            size = len(tail)
            self._scratch[:size] = tail
            return self._scratch[size:]
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._corked = True
        try:
            if self._body is None:
                self._read(self._scratch[: len(self._tail) + nbytes].tobytes())
            else:
                self._read_body(self._body, nbytes)
        except WireError as error:
            self._fail(error)
        except Exception as error:  # noqa: BLE001 - the handler's; only this connection ends
            self._fail(error)
        self._corked = False
        if self._out or self._backlog is not None:
            self._flush()

    def _read(self, data: bytes) -> None:
        offset = 0
        left = len(data)
        plain = self._plain
        frame = self.handler.frame
        while left >= HEADER_SIZE:
            length, kind, flags, aux, call_id = _unpack_from(data, offset)
            if not HEADER_SIZE <= length <= left:
                break
            payload = data[offset + HEADER_SIZE : offset + length]
            if plain[kind] and not flags & _APART:
                frame(self, kind, flags, aux, call_id, payload)
            else:
                apart = self._deliver if plain[kind] else self._special
                apart(kind, flags, aux, call_id, payload)
                plain = self._plain
            if self.closed:
                return
            offset += length
            left -= length
        self._tail = data[offset:] if left else b""
        if left >= HEADER_SIZE:
            self._unfinished(self._tail)

    def _unfinished(self, tail: bytes) -> None:
        length, kind, flags, aux, call_id = _unpack_from(tail)
        if not HEADER_SIZE <= length <= self._max_frame:
            raise WireError(
                f"A frame of {length} bytes, expected {HEADER_SIZE}..{self._max_frame}."
            )
        if length > _SMALL_TAIL:
            self._head = (kind, flags, aux, call_id)
            self._body = bytearray(length - HEADER_SIZE)
            self._filled = len(tail) - HEADER_SIZE
            self._body[: self._filled] = tail[HEADER_SIZE:]
            self._tail = b""

    def _read_body(self, body: bytearray, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled < len(body):
            return
        kind, flags, aux, call_id = self._head
        payload = bytes(body)
        self._body = None
        self._special(kind, flags, aux, call_id, payload)

    def _special(self, kind: int, flags: int, aux: int, call_id: int, payload: bytes) -> None:
        """All that the loop over frames leaves aside: our own frames, parts, mistakes."""
        if self.peer is None:
            self._greet(kind, payload)
        elif kind == frames.ARENA:
            self._lend().arena(aux, call_id, payload)
        elif kind == frames.FREE:
            (self._lending or self._lend()).free(aux, call_id)
        elif not _PLAIN[kind]:
            raise WireError(f"A frame of type {kind}, which has no place here.")
        else:
            self._deliver(kind, flags, aux, call_id, payload)

    def _deliver(self, kind: int, flags: int, aux: int, call_id: int, payload: bytes) -> None:
        assembly = self._assembly
        if flags & MORE:
            if assembly is None:
                assembly = self._assembly = Assembly(self._limits.max_payload)
                self._plain = _NONE_PLAIN  # the last piece has no mark of its own
            assembly.add(kind, call_id, payload)
            return
        if assembly is not None:
            payload = assembly.complete(kind, call_id, payload)
            if not assembly:
                self._assembly = None
                self._plain = _PLAIN
        whole = (self._lending or self._lend()).decode(payload) if flags & SEG else payload
        self.handler.frame(self, kind, flags & ~_APART, aux, call_id, whole)

    # --------------------------------------------------------------------------- life and death

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._use(cast("asyncio.Transport", transport))  # uvloop's is no subclass
        if self.dialled:  # how long it may take to be greeted is for who dials to say
            self._say_hello()
        else:
            self._timer = self._loop.call_later(self._limits.hello_s, self._too_late)

    def _say_hello(self) -> None:
        hello = msgspec.structs.replace(self._hello, secret=b"")
        if self.dialled:
            cell = self._mine = self._shared.cell()
            hello = msgspec.structs.replace(
                hello,
                secret=self._secret,
                board_fd=cell.board.fd,
                board=cell.board.id,
                cell=cell.number,
            )
        payload = msgspec.msgpack.encode(hello)
        self._transport.write(_pack(HEADER_SIZE + len(payload), frames.HELLO, 0, 0, 0) + payload)

    def _greet(self, kind: int, payload: bytes) -> None:
        if kind != frames.HELLO or len(payload) > _MAX_HELLO:
            raise WireError(f"The first frame is of type {kind}, expected HELLO.")
        try:
            peer = _hello.decode(payload)
        except msgspec.MsgspecError as error:
            raise WireError(f"HELLO cannot be read: {error}") from None
        if not self.dialled and not hmac.compare_digest(peer.secret, self._secret):
            raise WireError("A dialler did not prove the secret.")
        if peer.protocol != PROTOCOL:
            raise WireError(f"{peer.name} speaks protocol {peer.protocol}, expected {PROTOCOL}.")
        if not self.dialled:
            if peer.board_fd >= 0:
                cell = open_cell(peer)
                self.board_begun = cell.begin if cell is not None else self.board_begun
            self._say_hello()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.peer = msgspec.structs.replace(peer, secret=b"")
        self._max_frame = MAX_FRAME
        self._limit = MAX_INLINE if self._backlog is None else -1
        self._plain = _PLAIN
        self.handler.opened(self)
        if self.ready is not None and not self.ready.done():
            self.ready.set_result(None)

    def begun(self) -> int:
        """Caller: the last call that began there; all up to it may have had effects."""
        return self._begun if self._mine is None else self._mine.begun()

    def recall(self, up_to: int) -> int:
        """Caller: no call up to here begins any more; the last that has all the same."""
        return UNKNOWN if self._mine is None else self._mine.recall(up_to)

    def _lend(self) -> Lending:
        lending = self._lending
        if lending is None:
            if self.peer is None:
                raise WireError("Nothing can be lent before the peer has said HELLO.")
            self._shared.arena.call_later = self._loop.call_later
            lending = Lending(self._shared, self.peer, self._loop, self.send, self.hurry)
            self._lending, self._posted = lending, lending.unsent
        return lending

    def close(self, reason: str = "") -> None:
        """Send what was written, then end the connection. Again, or too late: nothing happens."""
        if self.closed:
            return
        self.reason = reason
        self._write_all()
        self._end()
        self._transport.close()
        self._timer = self._loop.call_later(self._limits.close_s, self._transport.abort)

    def _end(self) -> None:
        self.closed = True
        self._limit = self._fd = -1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, error: Exception) -> None:
        """The peer makes no sense, or our handler broke: tell once, and end it."""
        if self.closed:
            return
        self._error = error
        self.reason = str(error)
        if isinstance(error, WireError):
            _log.error("Connection with %s closed: %s", self.name, error)
        else:
            _log.error("Connection with %s closed by a mistake here", self.name, exc_info=error)
        self._drop_all()
        self._end()
        self._transport.abort()

    def _too_late(self) -> None:
        self._timer = None
        self._fail(WireError(f"No HELLO within {self._limits.hello_s:g} s."))

    def eof_received(self) -> None:
        if not self.closed and (self._tail or self._body is not None or self._assembly):
            self._fail(WireError("The stream ended inside a frame."))

    def _drained(self) -> None:
        if not self.paused and self.peer is not None and not self.closed:
            self.handler.writable(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._drop_all()
        self._assembly = self._body = None
        self._end()
        error = self._error or exc
        if self._lending is not None:
            self._lending.close()
            self._lending = None  # what is still read keeps it
            self._posted = ()
        self.board_begun = CalleeCell([0, UNKNOWN]).begin  # nothing begins for who is gone
        if self.ready is not None and not self.ready.done():
            self.ready.set_exception(error or WireError("Closed before HELLO."))
        elif self.peer is not None:
            self.handler.closed(self, error)
        self._begun = self.begun()
        self._mine = None
