"""`torch`: tensors of PyTorch, through NumPy and without a copy where the memory allows it."""

from __future__ import annotations

from typing import Any

import numpy as np

from salver.oip.codecs.foreign import is_instance, is_type, loaded
from salver.oip.codecs.numpy import writable
from salver.oip.errors import ContentError
from salver.oip.types import Tensor

__all__ = ("TorchCodec",)


class TorchCodec:
    """Any dense tensor; it is brought to the CPU to be encoded."""

    content_type = "torch"

    def fits(self, hint: object) -> bool:
        return is_type(hint, "torch", "Tensor")

    def can_encode(self, value: object) -> bool:
        return is_instance(value, "torch", "Tensor")

    def encode(self, name: str, value: Any) -> Tensor:
        held = value.detach().cpu().contiguous()
        parameters = {"content_type": "torch"}
        torch = loaded("torch")
        if held.dtype == torch.bfloat16:
            bits = held.view(torch.int16).numpy().view(np.uint16)
            return Tensor(name, "BF16", bits.shape, bits, parameters)
        return Tensor.of(name, held.numpy(), parameters)

    def decode(self, tensor: Tensor) -> Any:
        torch = loaded("torch")
        if tensor.datatype == "BYTES":
            raise ContentError("a torch tensor cannot hold BYTES", ".datatype")
        array = writable(tensor.array())
        if tensor.datatype == "BF16":
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        return torch.from_numpy(array)
