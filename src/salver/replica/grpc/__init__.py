"""gRPC calls where user code runs: which methods there are, their messages, how they end.

Nothing here imports grpc, but for what users' generated code does.
"""
