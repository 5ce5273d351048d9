"""Open Inference Protocol as data: bytes to requests, responses to bytes, values to tensors.

Nothing here opens a socket or runs a model. `salver.oip.proto` and `salver.oip.messages` need
protobuf (the extra `grpc`) and are imported by those who speak gRPC only.
"""
