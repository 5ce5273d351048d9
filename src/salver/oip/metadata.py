"""What servers, models and repositories say about themselves. Encoded by `msgspec.json` as is."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from salver.spec.learnt import learnt

__all__ = (
    "BatchStatistics",
    "Duration",
    "ErrorBody",
    "InferStatistics",
    "MemoryUsage",
    "ModelIndexEntry",
    "ModelMetadata",
    "ModelReady",
    "ModelStatistics",
    "Parameters",
    "ResponseStatistics",
    "ServerLive",
    "ServerMetadata",
    "ServerReady",
    "SharedMemoryRegion",
    "TensorMetadata",
)


# A value is a bool, int, float or str; JSON lets lists, objects and null through as well.
Parameters: TypeAlias = dict[str, Any]


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error on every route."""

    error: str


class ServerLive(msgspec.Struct, frozen=True):
    live: bool = True


class ServerReady(msgspec.Struct, frozen=True):
    """Both keys: the specification prints one, clients read the other."""

    ready: bool
    live: bool = True


class ModelReady(msgspec.Struct, frozen=True):
    name: str
    ready: bool


@learnt
class ServerMetadata(msgspec.Struct, frozen=True):
    name: str
    version: str
    extensions: list[str]


class TensorMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tensor that a model takes or gives; a size of -1 is variable."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}

    @property
    def optional(self) -> bool:
        """Whether a request may leave this input out."""
        return self.parameters.get("optional") is True


@learnt
class ModelMetadata(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model: its tensors, and the versions that can be addressed."""

    name: str
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    versions: list[str] = []
    properties: dict[str, str] = {}
    parameters: dict[str, Any] = {}

    def input(self, name: str) -> TensorMetadata | None:
        """The input of that name."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)


@learnt
class ModelIndexEntry(msgspec.Struct, frozen=True):
    """One line of the repository index."""

    name: str
    version: str = ""
    state: str = "UNKNOWN"  # READY, UNAVAILABLE, LOADING, UNLOADING, UNKNOWN
    reason: str = ""


class SharedMemoryRegion(msgspec.Struct, frozen=True):
    """A registered region of POSIX shared memory."""

    name: str
    key: str
    offset: int
    byte_size: int


class Duration(msgspec.Struct, frozen=True):
    """How often, and for how long in all."""

    count: int = 0
    ns: int = 0


class InferStatistics(msgspec.Struct, frozen=True):
    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


class ResponseStatistics(msgspec.Struct, frozen=True):
    """One position in the streams that a model answers with."""

    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    success: Duration = Duration()
    fail: Duration = Duration()
    empty_response: Duration = Duration()
    cancel: Duration = Duration()


class BatchStatistics(msgspec.Struct, frozen=True):
    batch_size: int
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()


class MemoryUsage(msgspec.Struct, frozen=True):
    type: str
    id: int
    byte_size: int


class ModelStatistics(msgspec.Struct, frozen=True):
    """`inference_count` counts rows, `execution_count` calls of the model."""

    name: str
    version: str = ""
    last_inference: int = 0
    inference_count: int = 0
    execution_count: int = 0
    inference_stats: InferStatistics = InferStatistics()
    response_stats: dict[str, ResponseStatistics] = {}
    batch_stats: list[BatchStatistics] = []
    memory_usage: list[MemoryUsage] = []
