"""ModelStreamInfer: every request of a stream is a call of its own, answered in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc

from salver.doors.grpc.calls import StreamedCall
from salver.doors.grpc.door import DRAINING, GrpcDoor, abort
from salver.errors import SalverError
from salver.oip.errors import ProtocolError
from salver.oip.targets import Target, stream_item, target_of, write_stream_error
from salver.replica.grpc.status import CANCELLED, OK, UNAVAILABLE, status_of

if TYPE_CHECKING:
    from salver.calls.router import Router

__all__ = ("InferStream",)

_AHEAD: Final = 32  # requests of one stream that are worked on while the first is answered
_AS_STATUS: Final = "triton_grpc_error"

_Outcome: TypeAlias = tuple[int, str]
_Entry: TypeAlias = tuple[Target, StreamedCall | _Outcome, asyncio.TimerHandle | None]


class InferStream:
    """One client's stream. A request may be for any model, whichever replica has it."""

    def __init__(
        self,
        door: GrpcDoor,
        path: str,
        router_of: Callable[[Target], Router],
        context: Any,
        *,
        plain: bool,
    ) -> None:
        """`plain`: items are not wrapped, and an error ends the stream by its status."""
        self._door = door
        self._path = path
        self._router_of = router_of
        self._context = context
        self._head = door.read_head(context)
        self._plain = plain
        metadata = dict(context.invocation_metadata())
        self._as_status = plain or metadata.get(_AS_STATUS) in ("true", "1")
        self._entries: asyncio.Queue[_Entry | None] = asyncio.Queue(_AHEAD)
        self._request_id = self._head.request_id
        self._reader = door.loop.create_task(self._read())
        self._stopped = False

    def stop(self) -> None:
        """Read no further: answer what was asked, then tell the client that we close."""
        self._stopped = True
        self._reader.cancel()
        if self._entries.empty():
            self._entries.put_nowait(None)

    async def run(self) -> None:
        """Answer until the client has sent and been told all."""
        try:
            while (entry := await self._next()) is not None:
                code, details = await self._answer(entry)
                self._door.count(code)
                if code != OK:
                    await self._tell(entry[0], code, details)
        finally:
            self._reader.cancel()
            while not self._entries.empty():
                self._end(self._entries.get_nowait())
        trailing = (("request_id", self._request_id),)
        if self._stopped:
            await abort(self._context, UNAVAILABLE, DRAINING, trailing)
        self._context.set_trailing_metadata(trailing)

    async def _next(self) -> _Entry | None:
        if self._stopped and self._entries.empty():
            return None
        return await self._entries.get()

    async def _read(self) -> None:
        try:
            while (message := await self._context.read()) is not grpc.aio.EOF:
                entry = self._begin(message)
                try:
                    await self._entries.put(entry)
                except asyncio.CancelledError:
                    self._end(entry)
                    raise
        except Exception:  # noqa: BLE001, S110 - a stream that was cut may end in any way
            pass
        await self._entries.put(None)

    def _begin(self, message: bytes) -> _Entry:
        try:
            target = target_of(message)
        except ProtocolError as error:
            return Target(), self._refused(error), None
        call = StreamedCall(self._path, self._head, message, self._door.loop)
        timer = self._door.submit(call, lambda: self._router_of(target))
        return target, call, timer

    async def _answer(self, entry: _Entry) -> _Outcome:
        _, call, _ = entry
        if not isinstance(call, StreamedCall):
            return call
        try:
            while (item := await call.next()) is not None:
                message = item if self._plain else stream_item(item)
                if len(message) > self._door.longest:
                    raise self._door.too_long(message)
                await self._context.write(message)
            tail, _ = await call.future
        except SalverError as error:
            return self._refused(error)
        except asyncio.CancelledError:
            self._door.count(CANCELLED)
            raise
        finally:
            self._request_id = call.request_id or self._request_id
            self._end(entry)
        return (OK, "") if tail is None else (tail.code, tail.details)

    def _refused(self, error: SalverError) -> _Outcome:
        """What is answered where no replica has."""
        code, details = status_of(error)
        self._door.tell(self._path, code, self._request_id)
        return code, details

    def _end(self, entry: _Entry | None) -> None:
        if entry is not None and isinstance(entry[1], StreamedCall):
            entry[1].cancel()  # harmless where it is over
            self._door.over(entry[2])

    async def _tell(self, target: Target, code: int, details: str) -> None:
        if self._as_status:
            await abort(self._context, code, details, (("request_id", self._request_id),))
        await self._context.write(write_stream_error(details, target.id).SerializeToString())
