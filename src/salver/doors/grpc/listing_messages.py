"""The messages of `ray.serve.RayServeAPIService`, by which clients ask a gRPC door for its apps."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

__all__ = ("METHODS", "SERVICE", "Messages")

SERVICE: Final = "ray.serve.RayServeAPIService"
METHODS: Final = ("ListApplications", "Healthz")
_PACKAGE: Final = "ray.serve"
# Message -> its one field, if it has one: name, repeated.
_MESSAGES: Final[dict[str, tuple[str, bool] | None]] = {
    "ListApplicationsRequest": None,
    "ListApplicationsResponse": ("application_names", True),
    "HealthzRequest": None,
    "HealthzResponse": ("message", False),
}


class Messages:
    """Their classes, by name."""

    def __init__(self) -> None:
        # A pool of its own: a user's process may hold Ray's own messages of these names.
        self.pool = DescriptorPool()
        self.pool.Add(_file())

    def __getitem__(self, name: str) -> Any:
        return GetMessageClass(self.pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


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
    for name in METHODS:
        service.method.add(
            name=name,
            input_type=f".{_PACKAGE}.{name}Request",
            output_type=f".{_PACKAGE}.{name}Response",
        )
    return file
