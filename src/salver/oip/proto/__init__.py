"""The protocol's protobuf messages, in a descriptor pool of their own.

Other packages (clients, other servers' kits) register the same message names in protobuf's default
pool, which takes each name once per process. Ours are in `POOL`, so any of them can be imported
beside Salver. Needs the extra `grpc`.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Final

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from salver.oip.errors import MalformedBodyError
from salver.oip.proto.schema import read_proto

__all__ = ("FILE", "POOL", "SERVICE", "message", "methods", "parse")

FILE: Final = read_proto(
    files("salver.oip.proto").joinpath("inference.proto").read_text(encoding="utf-8"),
    "salver/inference.proto",
)
POOL: Final = DescriptorPool()
POOL.Add(FILE)
SERVICE: Final = "inference.GRPCInferenceService"


def message(name: str) -> type[Any]:
    """The message class of that name, such as "ModelInferRequest"."""
    return GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


def methods() -> dict[str, Any]:
    """The service's methods by name, with input_type, output_type and their streaming flags."""
    return dict(POOL.FindServiceByName(SERVICE).methods_by_name)


def parse(kind: type[Any], data: bytes | memoryview) -> Any:
    """A message of that class; refuses bytes that are none."""
    try:
        return kind.FromString(data)
    except DecodeError as error:
        name = kind.DESCRIPTOR.name
        raise MalformedBodyError(f"the bytes are no {name} message: {error}") from None
