"""`salver.serve.generated.serve_pb2_grpc`: how a client asks a gRPC door for its apps."""

from __future__ import annotations

from typing import Any

from salver.doors.grpc.listing_messages import METHODS, SERVICE
from salver.serve.generated import serve_pb2

__all__ = ("RayServeAPIServiceStub",)


class RayServeAPIServiceStub:
    """`ListApplications` and `Healthz`, over a channel of gRPC, blocking or not."""

    def __init__(self, channel: Any) -> None:
        for name in METHODS:
            call = channel.unary_unary(
                f"/{SERVICE}/{name}",
                request_serializer=getattr(serve_pb2, f"{name}Request").SerializeToString,
                response_deserializer=getattr(serve_pb2, f"{name}Response").FromString,
            )
            setattr(self, name, call)
