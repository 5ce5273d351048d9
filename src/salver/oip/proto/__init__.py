"""The protocol's protobuf messages, in a descriptor pool of their own.

Other packages (clients, other servers' kits) register the same message names in protobuf's default
pool, which takes each name once per process. Ours are in `POOL`, so any of them can be imported
beside Salver. Needs the extra `grpc`.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from salver.oip.errors import MalformedBodyError
from salver.oip.proto.breaks import find_break
from salver.oip.proto.schema import read_proto

__all__ = ("FILE", "OLD_REPOSITORY", "POOL", "SERVICE", "message", "methods", "parse")

FILE: Final = read_proto(
    files("salver.oip.proto").joinpath("inference.proto").read_text(encoding="utf-8"),
    "salver/inference.proto",
)
SERVICE: Final = "inference.GRPCInferenceService"
# MLServer's older clients ask this service for the repository. Its messages are the same bytes.
OLD_REPOSITORY: Final = "inference.model_repository.ModelRepositoryService"


def _old_repository() -> FileDescriptorProto:
    package, _, name = OLD_REPOSITORY.rpartition(".")
    file = FileDescriptorProto(
        name="salver/model_repository.proto",
        package=package,
        syntax="proto3",
        dependency=[FILE.name],
    )
    service = file.service.add(name=name)
    service.method.extend(m for m in FILE.service[0].method if m.name.startswith("Repository"))
    return file


POOL: Final = DescriptorPool()
POOL.Add(FILE)
POOL.Add(_old_repository())


def message(name: str) -> type[Any]:
    """The message class of that name, such as "ModelInferRequest"."""
    return GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


def methods(service: str = SERVICE) -> dict[str, Any]:
    """The service's methods by name, with input_type, output_type and their streaming flags."""
    return dict(POOL.FindServiceByName(service).methods_by_name)


def parse(kind: type[Any], data: bytes | memoryview, whole: bytes | memoryview = b"") -> Any:
    """A message of that class. MalformedBodyError: the bytes are none; it says where.

    `whole` is what was received, where the bytes are only a part of that.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        found = find_break(kind.DESCRIPTOR, whole or data)
        path, why = found if found is not None else ("", str(error))
        what = f"the bytes are no {kind.DESCRIPTOR.name} message: {why}"
        raise MalformedBodyError(what, path) from None
