"""Requests, responses and tensors in the one form that REST, gRPC and models share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Self, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from salver.oip.datatypes import BYTES, DATATYPES, as_datatype, check_size, count_of, datatype_named
from salver.oip.datatypes import name_of as datatype_of
from salver.oip.errors import InvalidMessageError, InvalidResultError, InvalidTensorError
from salver.oip.framing import as_objects, pack, unpack
from salver.oip.metadata import Parameters

__all__ = (
    "Buffer",
    "InferRequest",
    "InferResponse",
    "Parameters",
    "RequestedOutput",
    "Tensor",
    "check_number",
)

Buffer: TypeAlias = bytes | bytearray | memoryview

_MOST: Final = 4096  # tensors of a message: each costs far more than its bytes


class Tensor(msgspec.Struct, eq=False, omit_defaults=True):
    """A named tensor: an array, or the raw bytes of one that nobody has looked at yet.

    `data` is an array in the datatype's own NumPy form (BF16: uint16 bits; BYTES: an object array
    of bytes), or raw contents in the protocol's binary form, or None where the contents lie
    elsewhere (shared memory, named in the parameters).
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: npt.NDArray[Any] | Buffer | None = None
    parameters: Parameters = {}

    @classmethod
    def of(cls, name: str, value: object, parameters: Parameters | None = None) -> Self:
        """A tensor of anything that NumPy makes an array of; no copy where none is needed."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        datatype = DATATYPES[datatype_of(array.dtype)]
        held = _as_bytes(array) if datatype is BYTES else as_datatype(array, datatype)
        return cls(name, datatype.name, array.shape, held, parameters or {})

    @classmethod
    def raw(cls, name: str, datatype: str, shape: Sequence[int], contents: Buffer) -> Self:
        """A tensor over raw contents, checked but not looked at (BYTES are taken apart)."""
        kind = datatype_named(datatype)
        count = count_of(shape, kind)
        check_size(len(contents), count, kind, "")
        if kind is BYTES:
            elements = unpack(contents, count).reshape(shape)
            return cls(name, datatype, tuple(shape), elements)
        return cls(name, datatype, tuple(shape), contents)

    def array(self) -> npt.NDArray[Any]:
        """The contents as an array of this shape; a view of raw contents where they are aligned."""
        data = self.data
        if isinstance(data, np.ndarray):
            return data
        if data is None:
            raise InvalidTensorError(f"tensor {self.name!r:.60} has no contents", ".data")
        kind = datatype_named(self.datatype)
        array = np.frombuffer(data, dtype=kind.dtype).reshape(self.shape)
        # Extensions that take the pointer of an unaligned array may fault.
        self.data = array if array.flags.aligned else array.copy()
        return self.data

    def contents(self) -> Buffer:
        """The contents in the protocol's binary form; a view of the array if it is contiguous."""
        data = self.data
        if data is None:
            raise InvalidTensorError(f"tensor {self.name!r:.60} has no contents", ".data")
        if not isinstance(data, np.ndarray):
            return data
        if self.datatype == "BYTES":
            return pack(data.ravel().tolist())
        if data.size == 0:
            return b""
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8).data

    @property
    def count(self) -> int:
        """How many elements the tensor has."""
        return count_of(self.shape, DATATYPES[self.datatype])


class RequestedOutput(msgspec.Struct, omit_defaults=True):
    """An output that the caller wants, and how."""

    name: str
    parameters: Parameters = {}


class InferRequest(msgspec.Struct, eq=False, omit_defaults=True):
    """One inference request. Empty strings mean unset, as they do over gRPC."""

    inputs: list[Tensor]
    outputs: list[RequestedOutput] = []
    model_name: str = ""
    model_version: str = ""
    id: str = ""
    parameters: Parameters = {}

    def input(self, name: str) -> Tensor | None:
        """The input of that name."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)

    def wants_binary(self, name: str) -> bool:
        """Whether the caller asked for that output in binary form (over REST)."""
        for output in self.outputs:
            if output.name == name:
                asked = output.parameters.get("binary_data")
                if asked is not None:
                    return asked is True
        return self.parameters.get("binary_data_output") is True


class InferResponse(msgspec.Struct, eq=False, omit_defaults=True):
    """One inference response, or one item of a stream of them."""

    outputs: list[Tensor]
    model_name: str = ""
    model_version: str = ""
    id: str = ""
    parameters: Parameters = {}

    def output(self, name: str) -> Tensor:
        """The output of that name."""
        for tensor in self.outputs:
            if tensor.name == name:
                return tensor
        raise KeyError(name)

    def select(self, wanted: Sequence[RequestedOutput]) -> Self:
        """The same response with exactly the outputs that were asked for, in that order."""
        if not wanted:
            return self
        by_name = {tensor.name: tensor for tensor in self.outputs}
        for index, output in enumerate(wanted):
            if output.name not in by_name:
                known = ", ".join(repr(name) for name in by_name) or "none"
                raise InvalidMessageError(
                    f"the model gives no output {output.name!r:.60}; it gives {known}",
                    f"$.outputs[{index}].name",
                )
        chosen = [by_name[output.name] for output in wanted]
        return msgspec.structs.replace(self, outputs=chosen)


def _as_bytes(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Strings as UTF-8, one element each; never one blob of fixed-width cells."""
    return as_objects([_element(value) for value in array.ravel().tolist()]).reshape(array.shape)


def _element(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise InvalidResultError(
                f"A str in a BYTES tensor has no UTF-8 form: {error}"
            ) from None
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise InvalidResultError(
        f"An element of BYTES must be str or bytes, got {type(value).__name__}: {value!r}."
    )


def check_number(number: int, at: str) -> None:
    """Refuse a message of more tensors than any model has, before they are looked at."""
    if number > _MOST:
        raise InvalidMessageError(
            f"{number} tensors are given, expected at most {_MOST}", f"$.{at}"
        )
