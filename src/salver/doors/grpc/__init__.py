"""The gRPC door: users' own services and the inference service, in a process of its own.

`server` answers by path, `door` finds the app's router, `calls` carries messages to a replica and
back. Of all this the keeper loads only `main`: grpc must not be there before the fork.
"""
