"""Raw calls of the gRPC service: names and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from salver.oip import proto
from salver.oip.messages import write_infer_request
from salver.oip.types import InferRequest, Tensor


class Caller:
    """Calls the service by names and bytes."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def method(self, name: str) -> Any:
        return self.channel.unary_unary(f"/{proto.SERVICE}/{name}")

    def call(self, name: str, data: bytes, **options: Any) -> bytes:
        answer: bytes = self.method(name)(data, timeout=60, **options)
        return answer

    def stream(self, *requests: bytes, **options: Any) -> Any:
        return self.stream_of(iter(requests), **options)

    def stream_of(self, requests: Iterator[bytes], **options: Any) -> Any:
        method = self.channel.stream_stream(f"/{proto.SERVICE}/ModelStreamInfer")
        return method(requests, timeout=60, **options)

    def infer(self, request: InferRequest, *, typed: bool = False) -> Any:
        data = write_infer_request(request, typed).SerializeToString()
        return proto.parse(proto.message("ModelInferResponse"), self.call("ModelInfer", data))

    def refused(self, name: str, data: bytes) -> tuple[str, str]:
        with pytest.raises(grpc.RpcError) as raised:
            self.call(name, data)
        error: Any = raised.value
        return error.code().name, error.details()


def request(model: str = "identity", size: int = 3, **more: Any) -> InferRequest:
    x = Tensor.of("x", np.arange(size, dtype="f4"))
    return InferRequest([x], model_name=model, **more)


def spelled(asked: InferRequest) -> bytes:
    data: bytes = write_infer_request(asked).SerializeToString()
    return data
