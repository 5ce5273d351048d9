"""The standard health service, `grpc.health.v1.Health`: what is asked about is served, or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from grpc_health.v1 import health_pb2, health_pb2_grpc

from salver.doors.grpc.door import GrpcDoor, refused
from salver.replica.grpc.status import NOT_FOUND

__all__ = ("Health",)

_Status = health_pb2.HealthCheckResponse
_UNKNOWN: Final = _Status.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # grpc has no types here
    """The whole door ("") serves once the first apps run, and so does every service.

    What later versions of the service add is answered as not implemented.
    """

    def __init__(self, door: GrpcDoor, services: Iterable[str]) -> None:
        self._door = door
        self._services = frozenset(services)
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Tell who watches that something may be different now."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def status(self, service: str) -> int:
        """The status of a service as it is now."""
        if service and service not in self._services:
            return int(_UNKNOWN)
        serves = not self._door.unready and (not service or bool(self._door.apps))
        return int(_Status.SERVING if serves else _Status.NOT_SERVING)

    async def Check(self, request: Any, _context: Any) -> Any:  # noqa: N802
        status = self.status(request.service)
        if status == _UNKNOWN:
            raise refused(NOT_FOUND, f"There is no service {request.service!r}.")
        return _Status(status=status)

    async def List(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """The status of everything that can be asked about. Older grpc does not ask."""
        names = ("", *sorted(self._services))
        statuses = {name: _Status(status=self.status(name)) for name in names}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request: Any, _context: Any) -> AsyncIterator[Any]:  # noqa: N802
        """Every change of status; ends when the door closes."""
        told = None
        while True:
            changed = self._changed
            status = self.status(request.service)
            if status != told:
                told = status
                yield _Status(status=status)
            if self._door.draining:
                return
            await changed.wait()
