"""`ray.serve.RayServeAPIService`: what Ray Serve's users ask a gRPC door itself."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from salver.doors.grpc.door import GrpcDoor, abort
from salver.replica.grpc.status import UNAVAILABLE

__all__ = ("SERVICE", "Listing")

SERVICE: Final = "ray.serve.RayServeAPIService"
_PACKAGE: Final = "ray.serve"
# Message -> its one field, if it has one: name, repeated.
_MESSAGES: Final[dict[str, tuple[str, bool] | None]] = {
    "ListApplicationsRequest": None,
    "ListApplicationsResponse": ("application_names", True),
    "HealthzRequest": None,
    "HealthzResponse": ("message", False),
}
_METHODS: Final = ("ListApplications", "Healthz")


class Listing:
    """Which apps there are, and whether the door is well."""

    def __init__(self, door: GrpcDoor) -> None:
        self._door = door
        # A pool of its own: a user's process may hold Ray's own messages of these names.
        self.pool = DescriptorPool()
        self.pool.Add(_file())
        self._apps = self._message("ListApplicationsResponse")
        self._health = self._message("HealthzResponse")

    def handlers(self) -> dict[str, Any]:
        """By path, ready to be served."""
        answers = {"ListApplications": self._list, "Healthz": self._healthz}
        return {
            f"/{SERVICE}/{name}": grpc.unary_unary_rpc_method_handler(
                answers[name],
                self._message(f"{name}Request").FromString,
                self._message(f"{name}Response").SerializeToString,
            )
            for name in _METHODS
        }

    def _message(self, name: str) -> Any:
        return GetMessageClass(self.pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))

    async def _list(self, _request: Any, context: Any) -> Any:
        await self._check(context)
        return self._apps(application_names=sorted(self._door.apps or ()))

    async def _healthz(self, _request: Any, context: Any) -> Any:
        await self._check(context)
        return self._health(message="success")

    async def _check(self, context: Any) -> None:
        if self._door.trouble:
            await abort(context, UNAVAILABLE, self._door.trouble)


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="salver/ray_serve.proto", package=_PACKAGE, syntax="proto3"
    )
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, field in _MESSAGES.items():
        message = file.message_type.add(name=name)
        if field is not None:
            label = kinds.LABEL_REPEATED if field[1] else kinds.LABEL_OPTIONAL
            message.field.add(name=field[0], number=1, type=kinds.TYPE_STRING, label=label)
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for name in _METHODS:
        service.method.add(
            name=name,
            input_type=f".{_PACKAGE}.{name}Request",
            output_type=f".{_PACKAGE}.{name}Response",
        )
    return file
