"""What Salver serves over gRPC; apart from the others, which need no grpc."""

from __future__ import annotations

from bench.apps.rpc_service import Greeter
from salver import serve

app = serve.deployment(max_ongoing_requests=256)(Greeter).bind()
