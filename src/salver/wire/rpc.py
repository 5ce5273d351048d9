"""Calls, answers and notices on a control link: msgpack bodies, any of both sides may call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

import msgspec

from salver.errors import WireError
from salver.wire import frames
from salver.wire.messages import Rpc as Message
from salver.wire.payload import Segments, dump_error, load_error

if TYPE_CHECKING:
    from salver.wire.connection import Connection

__all__ = ("Rpc",)

_T = TypeVar("_T")
_log: Final = logging.getLogger("salver.wire")

_CALL: Final = 0
_ANSWER: Final = 1
_ERROR: Final = 2
_NOTICE: Final = 3

Method = Callable[[Any], Awaitable[Any] | Any]


class _Raw(msgspec.Struct, array_like=True, frozen=True):
    """`messages.Rpc` with the body left for whoever knows its type."""

    kind: int
    id: int
    method: str
    body: msgspec.Raw = msgspec.Raw(b"\xc0")


_decoder: Final = msgspec.msgpack.Decoder(_Raw)
_encode: Final = msgspec.msgpack.Encoder().encode


class Rpc:
    """The handler of one control link. Give it to `dial`, or make one per accepted connection.

    Methods take the body (builtin types) and may be coroutine functions. Calls and notices start in
    the order in which they arrived; a method that is no coroutine function is done before the next
    one starts.
    """

    def __init__(
        self,
        methods: Mapping[str, Method] | None = None,
        *,
        on_open: Callable[[Rpc], None] | None = None,
        on_close: Callable[[Rpc, Exception | None], None] | None = None,
    ) -> None:
        self.methods: dict[str, Method] = dict(methods or {})
        self.on_open = on_open
        self.on_close = on_close
        self.conn: Connection | None = None
        self._waiting: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._next = 0

    @property
    def is_open(self) -> bool:
        """Whether calls can be made now."""
        return self.conn is not None and not self.conn.closed

    @overload
    async def call(self, method: str, body: Any = None) -> Any: ...
    @overload
    async def call(self, method: str, body: Any = None, *, type: type[_T]) -> _T: ...

    async def call(self, method: str, body: Any = None, *, type: Any = Any) -> Any:  # noqa: A002
        """Call the peer's method; the answer as `type`. Raises what the method raised."""
        conn = self._open(method)
        self._next += 1
        number = self._next
        future: asyncio.Future[msgspec.Raw] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            conn.send(frames.RPC, 0, 0, 0, _encode(Message(_CALL, number, method, body)))
            answer = await future
        finally:
            self._waiting.pop(number, None)
        return msgspec.msgpack.decode(answer, type=type)

    def notify(self, method: str, body: Any = None) -> None:
        """Tell the peer; nothing comes back. On a closed link: nothing happens."""
        if self.conn is not None:
            self.conn.send(frames.RPC, 0, 0, 0, _encode(Message(_NOTICE, 0, method, body)))

    def close(self, reason: str = "") -> None:
        """Close the link, after what was written has left."""
        if self.conn is not None:
            self.conn.close(reason)

    # ----------------------------------------------------------------------------- FrameHandler

    def opened(self, conn: Connection) -> None:
        self.conn = conn
        if self.on_open is not None:
            self.on_open(self)

    def writable(self, conn: Connection) -> None:
        """Control messages are few: what waits is the connection's to bound."""

    def frame(
        self,
        conn: Connection,
        type: int,  # noqa: A002
        flags: int,  # noqa: ARG002
        aux: int,  # noqa: ARG002
        call_id: int,  # noqa: ARG002
        payload: bytes | Segments,
    ) -> None:
        if type != frames.RPC or isinstance(payload, Segments):
            raise WireError(f"A frame of type {type} on a control link, expected RPC.")
        try:
            message = _decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise WireError(f"RPC cannot be read: {error}") from None
        if message.kind in (_CALL, _NOTICE):
            self._begin(conn, message)
        elif (future := self._waiting.pop(message.id, None)) and not future.done():
            if message.kind == _ANSWER:
                future.set_result(message.body)
            else:
                future.set_exception(_error_of(message.body))

    def closed(self, conn: Connection, error: Exception | None) -> None:
        why = f": {error}" if error else "."
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(WireError(f"The control link with {conn.name} closed{why}"))
        for task in list(self._tasks):
            task.cancel()
        if self.on_close is not None:
            self.on_close(self, error)

    # ------------------------------------------------------------------------------------ inside

    def _open(self, method: str) -> Connection:
        if self.conn is None or self.conn.closed:
            raise WireError(f"Cannot call {method!r}: the control link is not open.")
        return self.conn

    def _begin(self, conn: Connection, message: _Raw) -> None:
        method = self.methods.get(message.method)
        try:
            if method is None:
                known = ", ".join(sorted(self.methods)) or "none"
                raise WireError(f"No method {message.method!r} here; there are: {known}.")
            result = method(msgspec.msgpack.decode(message.body))
            if not isinstance(result, Awaitable):
                self._answer(conn, message, result)
                return
        except Exception as error:  # noqa: BLE001 - the method's; the caller gets it
            self._failed(conn, message, error)
            return
        task = asyncio.ensure_future(self._finish(conn, message, result))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, conn: Connection, message: _Raw, result: Awaitable[Any]) -> None:
        try:
            self._answer(conn, message, await result)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(conn, message, error)

    def _answer(self, conn: Connection, message: _Raw, result: Any) -> None:
        if message.kind == _CALL:
            body = _encode(Message(_ANSWER, message.id, "", result))
            conn.send(frames.RPC, 0, 0, 0, body)

    def _failed(self, conn: Connection, message: _Raw, error: Exception) -> None:
        if message.kind == _CALL:
            body = _encode(Message(_ERROR, message.id, "", dump_error(error)))
            conn.send(frames.RPC, 0, 0, 0, body)
        else:
            _log.error("Notice %r of %s failed", message.method, conn.name, exc_info=error)


def _error_of(body: msgspec.Raw) -> BaseException:
    return load_error(msgspec.msgpack.decode(body, type=bytes))
