"""Arrays of NumPy, torch and pandas: of the datatype and shape that are declared, or of any."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from salver.oip import bfloat16
from salver.oip.codecs.numpy import NumpyCodec, array_of
from salver.oip.codecs.registry import Codec
from salver.oip.datatypes import DATATYPES, Datatype
from salver.oip.errors import ContentError, InvalidMessageError, InvalidResultError
from salver.oip.plainarrays import completed, read_plain, told_bytes, write_plain
from salver.oip.slots import Slot, element_schema, fits, promised
from salver.oip.types import Tensor

__all__ = ("ArraySlot",)

_NUMPY: Final = NumpyCodec()


class ArraySlot(Slot):
    """Arrays; in plain JSON nested lists, whose own numbers tell the datatype if none is declared.

    Elements of BYTES are text where `text` says so, and else base64 in plain JSON.
    """

    def __init__(
        self,
        codec: Codec,
        datatype: str | None = None,
        shape: tuple[int, ...] | None = None,
        *,
        own: bool = True,
        text: bool = False,
    ) -> None:
        self.codec = codec
        self._numpy = isinstance(codec, NumpyCodec)
        self.any = datatype is None
        self._floats = "FP32" if codec.content_type == "torch" else "FP64"  # their own default
        self.datatype = datatype or self._floats
        self.shape = shape
        self.own = own
        self.text = text
        self.content_type = codec.content_type

    def takes(self, datatype: str) -> bool:
        return self.any or datatype == self.datatype

    def decode(self, tensor: Tensor) -> Any:
        if self.text and "dtype" not in tensor.parameters:
            tensor.parameters["dtype"] = "str"
        if self._numpy:
            return array_of(tensor, own=self.own)
        return self.codec.decode(tensor)

    def encode(self, name: str, value: Any) -> Tensor:
        codec = self.codec
        if not codec.can_encode(value):
            value = self._array(name, value)
            codec = _NUMPY
        if not self.any and isinstance(value, np.ndarray):
            value = self._cast(name, value)
        tensor = codec.encode(name, value)
        if not self.takes(tensor.datatype):
            self._convert(tensor)
        if self.shape is not None and not fits(tensor.shape, self.shape):
            raise InvalidResultError(
                f"output {name!r} is declared with the shape {list(self.shape)}, but an array of "
                f"{list(tensor.shape)} was returned."
            )
        return tensor

    def _array(self, name: str, value: Any) -> Any:
        """What is no array, such as a list of numbers, as one."""
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise promised(name, self._declared, f"{value!r:.60}", str(error)) from None
        if array.dtype.kind == "O" and not _is_bytes(array):
            raise promised(name, self._declared, f"{value!r:.60}")
        return array

    @property
    def _declared(self) -> str:
        return "an array" if self.any else self.datatype

    def _cast(self, name: str, value: Any) -> Any:
        """Promised one dtype, returned another: widened silently, narrowed within a kind."""
        wanted = DATATYPES[self.datatype].dtype
        if self.datatype in ("BYTES", "BF16") or value.dtype == wanted:
            return value
        if not np.can_cast(value.dtype, wanted, "same_kind"):
            raise promised(name, self.datatype, f"an array of {value.dtype}")
        return value.astype(wanted)

    def _convert(self, tensor: Tensor) -> None:
        """The same for what NumPy cannot cast: BF16, and the tensors of torch."""
        array = tensor.array()
        if tensor.datatype == "BF16":
            array = bfloat16.widen(array)
        wanted = DATATYPES["FP32" if self.datatype == "BF16" else self.datatype].dtype
        if not np.can_cast(array.dtype, wanted, "same_kind"):
            raise promised(tensor.name, self.datatype, f"an array of {tensor.datatype}")
        narrow = self.datatype == "BF16"
        tensor.data = bfloat16.narrow(array) if narrow else array.astype(wanted)
        tensor.datatype = self.datatype

    def from_plain(self, value: Any) -> Any:
        if self.text or self.any:
            value, coded = told_bytes(value, text=self.text)
            if coded:
                return self._read(msgspec.json.encode(value), DATATYPES["BYTES"], coded=True)
        return self.from_text(msgspec.json.encode(value))

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        coded = self.datatype == "BYTES" and not self.text
        return self._read(text, None if self.any else DATATYPES[self.datatype], coded=coded)

    def _read(self, text: bytes | msgspec.Raw, kind: Datatype | None, *, coded: bool) -> Any:
        kind, array = read_plain(text, kind, floats=DATATYPES[self._floats], coded=coded)
        shape = completed(array.shape, self.shape or ())
        tensor = Tensor("", kind.name, shape, array.reshape(shape))
        if self.text or (self.any and kind.kind == "bytes" and not coded):
            tensor.parameters["dtype"] = "str"
        try:
            self.check(tensor)
            return self.codec.decode(tensor)
        except InvalidMessageError as error:  # there are no members of these names in plain JSON
            what = "shape " if error.path == ".shape" else ""
            sentence = error.message.replace("expected ", f"expected {what}", 1)
            raise ContentError(sentence) from None

    def to_plain(self, name: str, value: Any) -> Any:
        return write_plain(self.encode(name, value), coded=not self.text)

    def schema(self) -> dict[str, Any]:
        if self.any:
            item: dict[str, Any] = {}
            some: dict[str, Any] = {"type": ["array", "number", "boolean", "string"]}
        else:
            item = element_schema(self.datatype)
            if self.datatype == "BYTES" and not self.text:
                item = item | {"contentEncoding": "base64"}
            some = {"anyOf": [{"type": "array", "items": {}}, item]}
        if self.shape is None:  # of any rank, even a number by itself
            return some
        for size in reversed(self.shape):
            item = {"type": "array", "items": item}
            if size >= 0:
                item |= {"minItems": size, "maxItems": size}
        return item


def _is_bytes(array: Any) -> bool:
    return all(isinstance(element, bytes | str) for element in array.ravel().tolist())
