"""How a value of one annotation travels: as a tensor, and as plain JSON.

A slot knows, for one argument or result, the tensor's datatype and shape, how to get the value out
of a tensor or out of JSON, and how to put it back. `slot_for` in `hints` chooses it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec
import numpy as np

from salver.oip.codecs.elements import ElementCodec
from salver.oip.codecs.json import convert, parse_as, schema_of, to_json
from salver.oip.codecs.numpy import NumpyCodec, array_of
from salver.oip.codecs.registry import Codec, Registry
from salver.oip.datatypes import DATATYPES
from salver.oip.errors import (
    ContentError,
    InvalidMessageError,
    InvalidResultError,
    MismatchError,
)
from salver.oip.framing import as_objects
from salver.oip.plainarrays import read_plain
from salver.oip.types import Tensor

__all__ = ("AnySlot", "ArraySlot", "ElementSlot", "JsonSlot", "NumberSlot", "Slot")


class Slot:
    """What all slots share."""

    datatype: str = "BYTES"
    shape: tuple[int, ...] | None = None  # None: any
    content_type: str = ""
    scalar: bool = False  # may also be given as a request parameter
    any: bool = False  # takes every datatype

    def check(self, tensor: Tensor) -> None:
        """Refuse a tensor of another datatype or shape."""
        if not self.takes(tensor.datatype):
            raise MismatchError(f"expected {self.datatype}, got {tensor.datatype}", ".datatype")
        wanted, given = self.shape, tensor.shape
        if wanted is None:
            return
        if not _fits(given, wanted):
            raise MismatchError(f"expected {list(wanted)}, got {list(given)}", ".shape")

    def takes(self, datatype: str) -> bool:
        """Whether tensors of that datatype can become this value."""
        return datatype == self.datatype

    def decode(self, tensor: Tensor) -> Any:
        """The value of a tensor."""
        raise NotImplementedError

    def encode(self, name: str, value: Any) -> Tensor:
        """The tensor of a value."""
        raise NotImplementedError

    def from_plain(self, value: Any) -> Any:
        """The value of something that came from JSON."""
        raise NotImplementedError

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        """The value of a JSON text."""
        return self.from_plain(parse_as(bytes(text), Any))

    def schema(self) -> dict[str, Any]:
        """The JSON schema of what `from_plain` takes."""
        return {}


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        size in (-1, found) for size, found in zip(wanted, shape, strict=True)
    )


class AnySlot(Slot):
    """No annotation: the tensor's own content type decides, the value's own type on the way out."""

    any = True
    scalar = True

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def takes(self, datatype: str) -> bool:
        return datatype in DATATYPES

    def decode(self, tensor: Tensor) -> Any:
        return self.registry.decode(tensor, NumpyCodec())

    def encode(self, name: str, value: Any) -> Tensor:
        return self.registry.encode(name, value)

    def from_plain(self, value: Any) -> Any:
        return value


class ArraySlot(Slot):
    """Arrays of NumPy or torch; of one datatype or of any."""

    def __init__(
        self, codec: Codec, datatype: str | None, shape: tuple[int, ...] | None, own: bool = True
    ) -> None:
        self.codec = codec
        self.any = datatype is None
        self.datatype = datatype or "FP32"
        self.shape = shape
        self.own = own
        self.text = False  # elements are str, not bytes
        self.content_type = codec.content_type

    def takes(self, datatype: str) -> bool:
        return self.any or datatype == self.datatype

    def decode(self, tensor: Tensor) -> Any:
        if self.text and "dtype" not in tensor.parameters:
            tensor.parameters["dtype"] = "str"
        if not self.own and isinstance(self.codec, NumpyCodec):
            return array_of(tensor, own=False)
        return self.codec.decode(tensor)

    def encode(self, name: str, value: Any) -> Tensor:
        if not self.codec.can_encode(value):
            value = np.asarray(value)
        if not self.any and isinstance(value, np.ndarray):
            value = self._cast(name, value)
        codec = self.codec if self.codec.can_encode(value) else NumpyCodec()
        tensor = codec.encode(name, value)
        if self.shape is not None and not _fits(tensor.shape, self.shape):
            raise InvalidResultError(
                f"Output {name!r} is declared with the shape {list(self.shape)}, but an array of "
                f"{list(tensor.shape)} was returned."
            )
        return tensor

    def _cast(self, name: str, value: Any) -> Any:
        """Promised one dtype, returned another: widened silently, narrowed within a kind."""
        wanted = DATATYPES[self.datatype].dtype
        if self.datatype in ("BYTES", "BF16") or value.dtype == wanted:
            return value
        if not np.can_cast(value.dtype, wanted, "same_kind"):
            raise InvalidResultError(
                f"Output {name!r} is declared {self.datatype}, but an array of {value.dtype} "
                "was returned."
            )
        return value.astype(wanted)

    def from_plain(self, value: Any) -> Any:
        return self.from_text(msgspec.json.encode(value))

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        kind, array = read_plain(text, None if self.any else DATATYPES[self.datatype])
        tensor = Tensor("", kind.name, array.shape, array)
        self.check(tensor)
        if self.text or (self.any and kind.kind == "bytes"):
            tensor.parameters["dtype"] = "str"
        return self.codec.decode(tensor)

    def schema(self) -> dict[str, Any]:
        item = _ITEMS[DATATYPES[self.datatype].kind] if not self.any else {}
        if self.shape is None:
            return {"type": "array"} if self.any else {"type": "array", "items": {}}
        for size in reversed(self.shape):
            item = {"type": "array", "items": item}
            if size >= 0:
                item |= {"minItems": size, "maxItems": size}
        return item


_ITEMS: Final[dict[str, dict[str, Any]]] = {
    "bool": {"type": "boolean"},
    "uint": {"type": "integer", "minimum": 0},
    "int": {"type": "integer"},
    "float": {"type": ["number", "null"]},
    "bytes": {"type": "string"},
}


class NumberSlot(Slot):
    """int, float or bool, or regular lists of them."""

    _DATATYPES: ClassVar = {bool: "BOOL", int: "INT64", float: "FP64"}
    _TAKES: ClassVar = {bool: ("bool",), int: ("int", "uint"), float: ("float", "int", "uint")}

    def __init__(self, kind: type, depth: int, hint: Any) -> None:
        self.kind = kind
        self.depth = depth
        self.hint = hint
        self.datatype = self._DATATYPES[kind]
        self.shape = (-1,) * depth if depth else (1,)
        self.scalar = depth == 0

    def takes(self, datatype: str) -> bool:
        return DATATYPES[datatype].kind in self._TAKES[self.kind]

    def check(self, tensor: Tensor) -> None:
        if self.depth == 1 or not self.depth:
            self._check_flat(tensor)
        else:
            super().check(tensor)

    def _check_flat(self, tensor: Tensor) -> None:
        """One value or a list: [N] and [N, 1] are the same to both."""
        if not self.takes(tensor.datatype):
            raise MismatchError(f"expected {self.datatype}, got {tensor.datatype}", ".datatype")
        if not self.depth and tensor.count != 1:
            raise MismatchError(f"expected one element, got {list(tensor.shape)}", ".shape")
        if len([size for size in tensor.shape if size != 1]) > 1:
            raise MismatchError(f"expected a flat list, got {list(tensor.shape)}", ".shape")

    def decode(self, tensor: Tensor) -> Any:
        array = array_of(tensor, own=False)
        if self.kind is float and array.dtype.kind != "f":
            array = array.astype(np.float64)
        values: Any = (array if self.depth > 1 else array.ravel()).tolist()
        return values if self.depth else values[0]

    def encode(self, name: str, value: Any) -> Tensor:
        try:
            array = np.atleast_1d(np.array(value, dtype=DATATYPES[self.datatype].dtype))
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidResultError(
                f"Output {name!r} is declared {self.hint}, but {value!r:.60} was returned: {error}"
            ) from None
        return Tensor(name, self.datatype, array.shape, array)

    def from_plain(self, value: Any) -> Any:
        return convert(value, self.hint)

    def schema(self) -> dict[str, Any]:
        return schema_of(self.hint)


class ElementSlot(Slot):
    """str, bytes, datetime, image: one, or a list of them."""

    def __init__(self, codec: ElementCodec, many: bool, registry: Registry) -> None:
        self.codec = codec
        self.many = many
        self.registry = registry
        self.shape = (-1,) if many else (1,)
        self.content_type = codec.content_type
        self.scalar = not many and codec.content_type in ("str", "datetime")

    def check(self, tensor: Tensor) -> None:
        if tensor.datatype != "BYTES":
            raise MismatchError(f"expected BYTES, got {tensor.datatype}", ".datatype")
        if not self.many and tensor.count != 1:
            raise MismatchError(f"expected one element, got {list(tensor.shape)}", ".shape")

    def decode(self, tensor: Tensor) -> Any:
        given = tensor.parameters.get("content_type")
        codec: Codec = self.codec
        if given is not None and given != self.content_type:
            named = self.registry.named(str(given))  # unknown ones are refused here
            if given == "base64" and self.content_type == "bytes":
                codec = named
        values = codec.decode(tensor)
        return values if self.many else values[0]

    def encode(self, name: str, value: Any) -> Tensor:
        values = value if self.many else (value,)
        if isinstance(values, str | bytes):
            raise InvalidResultError(f"Output {name!r} is declared a list, got {value!r:.60}.")
        return self.codec.encode_values(name, values)

    def from_plain(self, value: Any) -> Any:
        if not self.many:
            return self._one(value, "")
        if not isinstance(value, list):
            raise ContentError(f"expected a list, got {type(value).__name__}")
        return [self._one(item, f"[{index}]") for index, item in enumerate(value)]

    def _one(self, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            raise ContentError(f"expected a string, got {type(value).__name__}", path)
        if self.content_type == "bytes":
            value_bytes: Any = convert(value, bytes)  # base64, as bytes are in JSON
            return value_bytes
        try:
            return self.codec.read(value.encode())
        except ValueError as error:
            raise ContentError(f"no {self.content_type}: {error}", path) from None

    def schema(self) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "string"}
        if self.content_type == "datetime":
            item["format"] = "date-time"
        elif self.content_type != "str":
            item["contentEncoding"] = "base64"
        return {"type": "array", "items": item} if self.many else item


class JsonSlot(Slot):
    """Anything else: BYTES that hold JSON; a list of records is an element for each."""

    content_type = "json"

    def __init__(self, hint: Any, item: Any = None) -> None:
        self.hint = hint
        self.item = item  # of a list; None where the whole value is one element
        self.shape = (1,) if item is None else (-1,)
        self.scalar = item is None

    def check(self, tensor: Tensor) -> None:
        if tensor.datatype != "BYTES":
            raise MismatchError(f"expected BYTES, got {tensor.datatype}", ".datatype")
        if self.item is None and tensor.count != 1:
            raise MismatchError(f"expected one element, got {list(tensor.shape)}", ".shape")

    def decode(self, tensor: Tensor) -> Any:
        values = []
        for index, element in enumerate(tensor.array().ravel().tolist()):
            try:
                values.append(parse_as(element, self.hint if self.item is None else self.item))
            except InvalidMessageError as error:
                raise error.under(f".data[{index}]") from None
        return values if self.item is not None else values[0]

    def encode(self, name: str, value: Any) -> Tensor:
        elements = [to_json(item) for item in (value if self.item is not None else (value,))]
        return Tensor(
            name, "BYTES", (len(elements),), as_objects(elements), {"content_type": "json"}
        )

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        return parse_as(bytes(text), self.hint)

    def from_plain(self, value: Any) -> Any:
        return convert(value, self.hint)

    def schema(self) -> dict[str, Any]:
        return schema_of(self.hint)
