"""A public client, over HTTP or gRPC: asked in the same words, it answers in plain data."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from salver.oip.datatypes import DATATYPES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    gevent = import_module("gevent")
    http = import_module("tritonclient.http")
    http_aio = import_module("tritonclient.http.aio")
    grpc = import_module("tritonclient.grpc")
    grpc_aio = import_module("tritonclient.grpc.aio")
    ml_dtypes = import_module("ml_dtypes")

gevent.sleep(0)  # its event loop stays until this process ends: it is here before leaks are

SHAPES = ([1], [0, 3], [2, 3], [64, 1024])
ONE = np.ones(1, "f4")


def values(datatype: str, shape: list[int]) -> Any:
    """An array of this kind, no two of its first hundred elements alike."""
    count = int(np.prod(shape))
    if datatype == "BYTES":
        array = np.empty(count, dtype=object)
        array[:] = [f"é{n}\0".encode() for n in range(count)]
        return array.reshape(shape)
    numbers = np.arange(count) % 2 if datatype == "BOOL" else np.arange(count) % 100
    if datatype == "BF16":
        return numbers.astype(ml_dtypes.bfloat16).reshape(shape)
    return numbers.astype(DATATYPES[datatype].dtype).reshape(shape)


class HttpJudge:
    """The client over HTTP."""

    triton, triton_aio = http, http_aio
    statuses: ClassVar[Mapping[str, str]] = {
        "NOT_FOUND": "404", "INVALID_ARGUMENT": "400", "INTERNAL": "500",
        "UNAVAILABLE": "503", "UNIMPLEMENTED": "501",
    }  # fmt: skip

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = self.triton.InferenceServerClient(address)

    def told(self, question: str, *args: Any, **options: Any) -> Any:
        """What the server says, as plain data."""
        return getattr(self.client, question)(*args, **options)

    def tensor(self, name: str, array: Any, datatype: str) -> Any:
        """An input."""
        made = self.triton.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array)
        return made

    def wanted(self, name: str, **options: Any) -> Any:
        """An output that is asked for."""
        return self.triton.InferRequestedOutput(name, **options)

    def infer(self, model: str, *args: Any, **options: Any) -> Any:
        """Call a model."""
        return self.client.infer(model, *args, **options)

    def outcome(self, answer: Any) -> Any:
        """An answer without its tensors' contents."""
        return answer.get_response()

    def status(self, raised: Any) -> str:
        """The status of an error, by gRPC's names."""
        (name,) = [name for name, code in self.statuses.items() if code == raised.value.status()]
        return name


class GrpcJudge(HttpJudge):
    """The client over gRPC; its messages are read as the JSON that they stand for."""

    triton, triton_aio = grpc, grpc_aio
    statuses: ClassVar[Mapping[str, str]] = {
        name: f"StatusCode.{name}" for name in HttpJudge.statuses
    }

    def told(self, question: str, *args: Any, **options: Any) -> Any:
        found = super().told(question, *args, as_json=True, **options)
        if question.endswith("_settings"):
            return {name: next(iter(one.values())) for name, one in found["settings"].items()}
        if question == "get_system_shared_memory_status":
            return list(found.get("regions", {}).values())
        return found.get("models" if question == "get_model_repository_index" else "config", found)

    def outcome(self, answer: Any) -> Any:
        return answer.get_response(as_json=True)


Judge = HttpJudge | GrpcJudge
JUDGES: dict[str, type[Judge]] = {"http": HttpJudge, "grpc": GrpcJudge}
