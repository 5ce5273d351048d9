"""Endpoints: typed methods of the living object, answered in the inference protocols' own words.

`model` runs one method and is neutral; `door` and `grpc_door` translate HTTP and gRPC. Needs
numpy, so replicas without endpoints never import it.
"""
