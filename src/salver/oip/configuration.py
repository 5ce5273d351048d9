"""The model configuration that load generators and some clients ask for, made from metadata."""

from __future__ import annotations

from typing import Any

from salver.oip.metadata import ModelMetadata, TensorMetadata

__all__ = ("configuration",)


def configuration(
    metadata: ModelMetadata, *, max_batch_size: int = 0, streams: bool = False
) -> dict[str, Any]:
    """The configuration as plain data: JSON as it is, and `fill` makes the gRPC message of it.

    With a batch size the first size of every tensor is the batch and is not written.
    """
    return {
        "name": metadata.name,
        "platform": metadata.platform,
        "backend": metadata.platform,
        "max_batch_size": max_batch_size,
        "input": [_tensor(t, max_batch_size) | _optional(t) for t in metadata.inputs],
        "output": [_tensor(t, max_batch_size) for t in metadata.outputs],
        "model_transaction_policy": {"decoupled": streams},
        "response_cache": {"enable": False},
    }


def _tensor(tensor: TensorMetadata, max_batch_size: int) -> dict[str, Any]:
    name = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    dims = tensor.shape[1:] if max_batch_size else tensor.shape
    return {
        "name": tensor.name,
        "data_type": f"TYPE_{name}",
        "dims": list(dims),
        "is_shape_tensor": False,
    }


def _optional(tensor: TensorMetadata) -> dict[str, Any]:
    return {"optional": True} if tensor.optional else {}
