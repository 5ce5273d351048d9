"""`salver.serve.generated.serve_pb2`: the messages of `ray.serve.RayServeAPIService`."""

from __future__ import annotations

from salver.doors.grpc.listing_messages import Messages

__all__ = (
    "HealthzRequest",
    "HealthzResponse",
    "ListApplicationsRequest",
    "ListApplicationsResponse",
)

_messages = Messages()
HealthzRequest = _messages["HealthzRequest"]
HealthzResponse = _messages["HealthzResponse"]
ListApplicationsRequest = _messages["ListApplicationsRequest"]
ListApplicationsResponse = _messages["ListApplicationsResponse"]
