"""`salver.serve.grpc_util`: what a method that serves gRPC is given beside its message."""

from __future__ import annotations

from salver.replica.grpc.context import RayServegRPCContext, gRPCInputStream

__all__ = ("RayServegRPCContext", "gRPCInputStream")
