"""ModelStreamInfer: every request of a stream is a call of its own, answered in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from salver.doors.grpc.calls import StreamedCall
from salver.doors.grpc.door import DRAINING, GrpcDoor
from salver.errors import SalverError
from salver.oip.errors import ProtocolError
from salver.oip.targets import Target, stream_item, target_of, write_stream_error
from salver.replica.grpc.status import CANCELLED, OK, UNAVAILABLE, status_of

if TYPE_CHECKING:
    from salver.calls.router import Router
    from salver.doors.grpc.rpc import Rpc

__all__ = ("InferStream",)

_AHEAD: Final = 32  # requests of one stream that are worked on while the first is answered
_AS_STATUS: Final = "triton_grpc_error"

_Outcome: TypeAlias = tuple[int, str]
_Entry: TypeAlias = tuple[Target, StreamedCall | _Outcome]


class InferStream:
    """One client's stream. A request may be for any model, whichever replica has it."""

    def __init__(
        self,
        door: GrpcDoor,
        router_of: Callable[[Target], Router],
        rpc: Rpc,
        *,
        plain: bool,
    ) -> None:
        """`plain`: items are not wrapped, and an error ends the stream by its status."""
        self._door = door
        self._router_of = router_of
        self._rpc = rpc
        self._plain = plain
        metadata = dict(rpc.head.metadata)
        self._as_status = plain or metadata.get(_AS_STATUS) in ("true", "1")
        self._entries: asyncio.Queue[_Entry | None] = asyncio.Queue(_AHEAD)
        self._request_id = rpc.head.request_id or door.new_request_id()
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
            while not self._rpc.finished and (entry := await self._next()) is not None:
                code, details = await self._answer(entry)
                self._door.count(code)
                if code != OK:
                    await self._tell(entry[0], code, details)
        finally:
            self._reader.cancel()
            while not self._entries.empty():
                self._end(self._entries.get_nowait())
        code, details = (UNAVAILABLE, DRAINING) if self._stopped else (OK, "")
        self._close(code, details)

    async def _next(self) -> _Entry | None:
        if self._stopped and self._entries.empty():
            return None
        return await self._entries.get()

    async def _read(self) -> None:
        while (message := await self._rpc.read()) is not None:
            entry = self._begin(message)
            try:
                await self._entries.put(entry)
            except asyncio.CancelledError:
                self._end(entry)
                raise
        await self._entries.put(None)

    def _begin(self, message: bytes) -> _Entry:
        try:
            target = target_of(message)
        except ProtocolError as error:
            return Target(), self._refused(error)
        call = StreamedCall(self._door, self._rpc.head, message)
        self._door.submit(call, lambda: self._router_of(target))
        return target, call

    async def _answer(self, entry: _Entry) -> _Outcome:
        _, call = entry
        if not isinstance(call, StreamedCall):
            return call
        try:
            while (item := await call.next()) is not None:
                message = item if self._plain else stream_item(bytes(item))
                self._door.weigh(self._rpc, message)
                await self._rpc.write(message)
        except SalverError as error:
            return self._refused(error)
        except asyncio.CancelledError:
            self._door.count(CANCELLED)
            raise
        finally:
            self._request_id = call.request_id or self._request_id
            self._end(entry)
        return (OK, "") if call.tail is None else (call.tail.code, call.tail.details)

    def _refused(self, error: SalverError) -> _Outcome:
        """What is answered where no replica has."""
        code, details = status_of(error)
        self._door.tell(self._rpc.head.path, code, self._request_id)
        return code, details

    def _end(self, entry: _Entry | None) -> None:
        if entry is not None and isinstance(entry[1], StreamedCall):
            entry[1].cancel()  # harmless where it is over
            self._door.over(entry[1])

    async def _tell(self, target: Target, code: int, details: str) -> None:
        if self._as_status:
            self._close(code, details)
        else:
            await self._rpc.write(write_stream_error(details, target.id).SerializeToString())

    def _close(self, code: int, details: str) -> None:
        self._rpc.end(code, details, (("request_id", self._request_id),))
