"""How a value of one annotation travels: as a tensor, and as plain JSON.

A slot knows, for one argument or result, the tensor's datatype and shape, how to get the value out
of a tensor or out of JSON, and how to put it back, held to what was declared. `slot_for` in `hints`
chooses it; the kinds of slots are in `array_slots`, `value_slots` and `json_slots`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from salver.oip.codecs.json import parse_as
from salver.oip.codecs.numpy import NumpyCodec
from salver.oip.codecs.registry import Registry
from salver.oip.datatypes import DATATYPES
from salver.oip.errors import InvalidResultError, MismatchError
from salver.oip.types import Tensor

__all__ = (
    "AnySlot",
    "CarriedSlot",
    "Slot",
    "check_elements",
    "element_schema",
    "fits",
    "promised",
)

_FLOATS: Final[dict[str, Any]] = {
    "anyOf": [{"type": ["number", "null"]}, {"enum": ["NaN", "Infinity", "-Infinity"]}]
}


class Slot:
    """What all slots share."""

    datatype: str = "BYTES"
    shape: tuple[int, ...] | None = None  # None: any
    content_type: str = ""
    scalar: bool = False  # may also be given as a request parameter
    any: bool = False  # takes every datatype
    text: bool = False  # an array of str, not of bytes
    many: bool = False  # a list: a value for each row of a batch

    def check(self, tensor: Tensor) -> None:
        """Refuse a tensor of another datatype or shape."""
        if not self.takes(tensor.datatype):
            raise MismatchError(f"expected {self.datatype}, got {tensor.datatype}", ".datatype")
        wanted, given = self.shape, tensor.shape
        if wanted is None:
            return
        if not fits(given, wanted):
            raise MismatchError(f"expected {list(wanted)}, got {list(given)}", ".shape")

    def takes(self, datatype: str) -> bool:
        """Whether tensors of that datatype can become this value."""
        return datatype == self.datatype

    def decode(self, tensor: Tensor) -> Any:
        """The value of a tensor."""
        raise NotImplementedError

    def encode(self, name: str, value: Any) -> Tensor:
        """The tensor of a result. InvalidResultError: it is not what was declared."""
        raise NotImplementedError

    def from_plain(self, value: Any) -> Any:
        """The value of something that came from JSON."""
        raise NotImplementedError

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        """The value of a JSON text."""
        return self.from_plain(parse_as(bytes(text), Any))

    def to_plain(self, name: str, value: Any) -> Any:
        """A result as something that `to_json` writes and `from_plain` reads. InvalidResultError:
        it is not what was declared."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """The JSON schema of what `from_plain` takes."""
        return {}


class CarriedSlot(Slot):
    """Values of an annotation whose tensor is that of another slot."""

    def __init__(self, carrier: Slot, hint: Any) -> None:
        self.carrier = carrier
        self.hint = hint
        self.datatype = carrier.datatype
        self.shape = carrier.shape
        self.content_type = carrier.content_type
        self.scalar = carrier.scalar
        self.many = carrier.many

    def takes(self, datatype: str) -> bool:
        return self.carrier.takes(datatype)

    def check(self, tensor: Tensor) -> None:
        self.carrier.check(tensor)


def fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a shape is one that was declared."""
    return len(shape) == len(wanted) and all(
        size in (-1, found) for size, found in zip(wanted, shape, strict=True)
    )


def element_schema(datatype: str) -> dict[str, Any]:
    """The JSON schema of one element."""
    kind = DATATYPES[datatype]
    if kind.kind == "float":
        return _FLOATS
    if kind.kind in ("bool", "bytes"):
        return {"type": "boolean" if kind.kind == "bool" else "string"}
    low, high = kind.bounds
    return {"type": "integer", "minimum": low, "maximum": high}


def check_elements(tensor: Tensor, *, many: bool) -> None:
    """Refuse what is no BYTES of one element, or of `many`."""
    if tensor.datatype != "BYTES":
        raise MismatchError(f"expected BYTES, got {tensor.datatype}", ".datatype")
    if not many and tensor.count != 1:
        raise MismatchError(f"expected one element, got {list(tensor.shape)}", ".shape")


def promised(name: str, what: object, given: str, why: str = "") -> InvalidResultError:
    """The function broke the promise of its annotation."""
    reason = f": {why}" if why else "."
    return InvalidResultError(
        f"output {name!r} is declared {what}, but {given} was returned{reason}"
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

    def to_plain(self, name: str, value: Any) -> Any:  # noqa: ARG002 - as all slots
        return value
