"""`ray.serve.RayServeAPIService`: what Ray Serve's users ask a gRPC door itself."""

from __future__ import annotations

from typing import Any

from salver.doors.grpc.door import GrpcDoor, refused
from salver.doors.grpc.generated import unary
from salver.doors.grpc.head import Handler
from salver.doors.grpc.listing_messages import METHODS, SERVICE, Messages
from salver.replica.grpc.status import UNAVAILABLE

__all__ = ("SERVICE", "Listing")


class Listing:
    """Which apps there are, and whether the door is well."""

    def __init__(self, door: GrpcDoor) -> None:
        self._door = door
        self._messages = Messages()
        self.pool = self._messages.pool

    def handlers(self) -> dict[str, Handler]:
        """By path, ready to be served."""
        answers = {"ListApplications": self._list, "Healthz": self._healthz}
        return {
            f"/{SERVICE}/{name}": unary(
                answers[name],
                self._messages[f"{name}Request"].FromString,
                self._messages[f"{name}Response"].SerializeToString,
            )
            for name in METHODS
        }

    async def _list(self, _request: Any, _context: Any) -> Any:
        _check(self._door.trouble)
        return self._messages["ListApplicationsResponse"](
            application_names=sorted(self._door.apps or ())
        )

    async def _healthz(self, _request: Any, _context: Any) -> Any:
        _check(self._door.unready)
        return self._messages["HealthzResponse"](message="success")


def _check(trouble: str) -> None:
    if trouble:
        raise refused(UNAVAILABLE, trouble)
