"""Bodies of the repository and shared memory extensions: what to load, which region to map."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import msgspec

from salver.oip.errors import InvalidMessageError, MalformedBodyError
from salver.oip.metadata import Parameters, SharedMemoryRegion

__all__ = (
    "LoadRequest",
    "Region",
    "load_of",
    "read_index",
    "read_load",
    "read_register",
    "read_unload",
    "region_of",
)

T = TypeVar("T")


class LoadRequest(msgspec.Struct):
    """How to load a model: as it lies there, or with this configuration and these files."""

    config: dict[str, Any] | None = None
    files: dict[str, bytes] = {}
    parameters: Parameters = {}


class Region(msgspec.Struct, frozen=True):
    """Where in which registered region a tensor lies."""

    name: str
    byte_size: int
    offset: int = 0

    @classmethod
    def of(cls, parameters: Parameters) -> Region | None:
        """The region that a tensor's parameters name, if they do."""
        name = parameters.get("shared_memory_region")
        if name is None:
            return None
        if not isinstance(name, str) or not name:
            raise InvalidMessageError(
                f"expected a name, got {name!r:.40}", ".parameters.shared_memory_region"
            )
        size = _bytes(parameters, "shared_memory_byte_size", None)
        return cls(name, size, _bytes(parameters, "shared_memory_offset", 0))


class _Index(msgspec.Struct):
    ready: bool | None = None


class _Parameters(msgspec.Struct):
    parameters: dict[str, Any] | None = None


class _Register(msgspec.Struct):
    key: str
    byte_size: int
    offset: int = 0


def read_index(body: bytes | memoryview) -> bool:
    """Whether only models that are ready are asked for; an empty body asks for all."""
    return _decoded(body, _Index).ready is True


def read_load(body: bytes | memoryview) -> LoadRequest:
    """The load request in a body, in which files are base64."""
    return load_of(_decoded(body, _Parameters).parameters or {})


def load_of(parameters: Parameters) -> LoadRequest:
    """The load request in parameters; over gRPC, files are bytes."""
    request = LoadRequest(parameters=parameters)
    for name, value in parameters.items():
        path = f"$.parameters.{name:.60}"
        if name == "config":
            request.config = _config(value, path)
        elif name.startswith("file:"):
            request.files[name.removeprefix("file:")] = _file(value, path)
    if request.files and request.config is None:
        raise InvalidMessageError("files need a config beside them", "$.parameters.config")
    return request


def read_unload(body: bytes | memoryview) -> bool:
    """Whether what depends on the model is to be unloaded with it."""
    parameters = _decoded(body, _Parameters).parameters or {}
    return parameters.get("unload_dependents") is True


def read_register(name: str, body: bytes | memoryview) -> SharedMemoryRegion:
    """The region of that name that a body wants to register."""
    found = _decoded(body, _Register)
    return region_of(name, found.key, found.offset, found.byte_size)


def region_of(name: str, key: str, offset: int, byte_size: int) -> SharedMemoryRegion:
    """The region of that name; refuses sizes that are none."""
    if not name:
        raise InvalidMessageError("is missing", "$.name")
    if byte_size == 0:
        raise InvalidMessageError("expected at least one byte, got 0", "$.byte_size")
    return SharedMemoryRegion(
        name, key, _checked(offset, "$.offset"), _checked(byte_size, "$.byte_size")
    )


def _config(value: Any, path: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(value, type=dict[str, Any])
        msgspec.msgpack.encode(found)  # it goes to the controller so
        return found
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidMessageError(f"expected the text of a JSON object: {error}", path) from None


def _file(value: Any, path: str) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise InvalidMessageError(f"expected base64: {error}", path) from None


def _bytes(parameters: Parameters, name: str, default: int | None) -> int:
    path = f".parameters.{name}"
    value = parameters.get(name, default)
    if value is None:
        raise InvalidMessageError("is missing beside shared_memory_region", path)
    return _checked(value, path)


def _checked(value: Any, path: str) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise InvalidMessageError(f"expected a number of bytes, got {value!r:.40}", path)
    return value


def _decoded(body: bytes | memoryview, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(bytes(body).strip() or b"{}", type=kind)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at `")
        raise InvalidMessageError(sentence, path.rstrip("`") or "$") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBodyError(f"no valid JSON: {error}") from None
