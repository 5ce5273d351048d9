"""The gRPC service of the bench, without generated code: a string in, a string out.

It has what protoc would have made of it: a function that adds it to a server.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue

SERVICE = "bench.Hello"
HELLO = f"/{SERVICE}/Hello"


def add_hello_to_server(servicer: Any, server: Any) -> None:
    """As generated code does it."""
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.Hello,
        request_deserializer=StringValue.FromString,
        response_serializer=StringValue.SerializeToString,
    )
    methods = {"Hello": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    server.add_registered_method_handlers(SERVICE, methods)


class Greeter:
    """Says hello; over HTTP it says that it is there."""

    async def __call__(self, request: Any) -> dict[str, str]:
        return {"result": "Hello world!"}

    async def Hello(self, request: StringValue) -> StringValue:
        return StringValue(value=f"Hello {request.value}!")
