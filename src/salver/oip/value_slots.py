"""Single values and lists of them: numbers, text, bytes, times, images, and choices among such."""

from __future__ import annotations

import base64
import enum
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, get_args, get_origin

import msgspec
import numpy as np

from salver.oip.codecs.elements import ElementCodec
from salver.oip.codecs.json import convert, held, parse_as, schema_of, to_builtins
from salver.oip.codecs.numpy import array_of
from salver.oip.codecs.registry import Codec, Registry
from salver.oip.datatypes import DATATYPES
from salver.oip.errors import ContentError, InvalidMessageError, InvalidResultError, MismatchError
from salver.oip.ragged import read_rows, write_rows
from salver.oip.slots import CarriedSlot, Slot, check_elements, element_schema, promised
from salver.oip.types import Tensor

__all__ = ("ChoiceSlot", "ElementSlot", "NumberSlot")

_Loose = float | None | Literal["NaN", "Infinity", "-Infinity"]


class NumberSlot(Slot):
    """int, float or bool, or lists of them; of lists that are not equally long each row is JSON."""

    content_type = "number"
    _DATATYPES: ClassVar = {bool: "BOOL", int: "INT64", float: "FP64"}
    _TAKES: ClassVar = {bool: ("bool",), int: ("int", "uint"), float: ("float", "int", "uint")}

    def __init__(self, kind: type, depth: int, hint: Any) -> None:
        self.kind = kind
        self.depth = depth
        self.hint = hint
        self.datatype = self._DATATYPES[kind]
        self.shape = (-1,) * depth if depth else (1,)
        self.scalar = depth == 0
        self.many = depth > 0

    def takes(self, datatype: str) -> bool:
        return DATATYPES[datatype].kind in self._TAKES[self.kind]

    def check(self, tensor: Tensor) -> None:
        if self.depth == 1 or not self.depth:
            self._check_flat(tensor)
        elif tensor.datatype != "BYTES":  # rows of JSON
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
        if tensor.datatype == "BYTES":
            return read_rows(tensor, self._row.from_plain)
        array = array_of(tensor, own=False)
        if self.kind is float and array.dtype.kind != "f":
            array = array.astype(np.float64)
        values: Any = (array if self.depth > 1 else array.ravel()).tolist()
        return values if self.depth else values[0]

    def encode(self, name: str, value: Any) -> Tensor:
        values = self._held(name, value)
        try:
            array = np.atleast_1d(np.array(values, dtype=DATATYPES[self.datatype].dtype))
        except (TypeError, ValueError, OverflowError) as error:  # ragged, or too large
            if self.depth > 1 and _is_ragged(values, self.depth):
                row = self._row
                return write_rows(name, [row.to_plain(name, value) for value in values])
            raise promised(name, self._declared, f"{value!r:.60}", str(error)) from None
        if not array.size:
            array = array.reshape(array.shape + (0,) * (self.depth - array.ndim))
        return Tensor(name, self.datatype, array.shape, array)

    def _held(self, name: str, value: Any) -> Any:
        """A result as what was declared: numbers of Python, or of NumPy in the same kind."""
        if type(value) is self.kind and not self.depth:
            return value
        try:
            return convert(value, self.hint)
        except ContentError:
            pass
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise promised(name, self._declared, f"{value!r:.60}", str(error)) from None
        wanted = DATATYPES[self.datatype].dtype
        fits = array.ndim == self.depth and array.dtype.kind in "biuf"
        if not fits or not np.can_cast(array.dtype, wanted, "same_kind"):
            raise promised(name, self._declared, f"{value!r:.60}")
        if array.dtype.kind == "u":  # beyond INT64 it is refused where that matters
            return array.tolist() if self.kind is int else array.astype(wanted).tolist()
        return array.astype(wanted).tolist()

    @property
    def _row(self) -> NumberSlot:
        return NumberSlot(self.kind, self.depth - 1, get_args(self.hint)[0])

    @property
    def _declared(self) -> str:
        return getattr(self.hint, "__name__", "") if not self.depth else str(self.hint)

    def from_plain(self, value: Any) -> Any:
        try:
            return convert(value, self.hint)
        except ContentError:
            if self.kind is not float:
                raise
            loose: Any = _Loose
            for _ in range(self.depth):
                loose = list[loose]
            try:
                return _each(_read_float, convert(value, loose), self.depth)
            except ContentError:
                pass
            raise

    def to_plain(self, name: str, value: Any) -> Any:
        values = self._held(name, value)
        if self.kind is not float or _all_finite(values, self.depth):
            return values
        return _each(_spelled, values, self.depth)

    def schema(self) -> dict[str, Any]:
        schema = element_schema(self.datatype)
        for _ in range(self.depth):
            schema = {"type": "array", "items": schema}
        return schema


def _is_ragged(values: list[Any], depth: int) -> bool:
    """Whether lists that are so deep make no regular array."""
    while depth > 1:
        if len(set(map(len, values))) > 1:
            return True
        values = [value for row in values for value in row]
        depth -= 1
    return False


def _each(change: Any, values: Any, depth: int) -> Any:
    """Every number of lists that are so deep, changed."""
    return [_each(change, value, depth - 1) for value in values] if depth else change(values)


def _all_finite(values: Any, depth: int) -> bool:
    if depth > 1:
        return all(_all_finite(value, depth - 1) for value in values)
    return math.isfinite(sum(values) if depth else values)


def _read_float(value: float | str | None) -> float:
    return math.nan if value is None else float(value)


def _spelled(value: float) -> float | str | None:
    if math.isfinite(value):
        return value
    return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


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
        check_elements(tensor, many=self.many)

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
        return self.codec.encode_values(name, self._values(name, value))

    def _values(self, name: str, value: Any) -> Iterable[Any]:
        if not self.many:
            return (value,)
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise promised(name, f"a list of {self.content_type}", f"{value!r:.60}")
        return value

    def from_plain(self, value: Any) -> Any:
        if not self.many:
            return self._one(value, "")
        if not isinstance(value, list):
            raise ContentError(f"expected a list, got {type(value).__name__}")
        return [self._one(item, f"[{index}]") for index, item in enumerate(value)]

    def _one(self, value: Any, path: str) -> Any:
        if isinstance(value, bytes):
            return self._read(value, path)
        if not isinstance(value, str):
            raise ContentError(f"expected a string, got {type(value).__name__}", path)
        if self.content_type == "str":
            return value
        try:
            if self.content_type == "bytes":
                return base64.b64decode(value, validate=True)
            return self.codec.read(value.encode())
        except ValueError as error:
            what = "base64, as bytes are in JSON" if self._coded else self.content_type
            raise ContentError(f"no {what}: {error}", path) from None

    def _read(self, value: bytes, path: str) -> Any:
        """Bytes that came as such: V1 has a form for them."""
        if self.content_type == "base64":
            return value
        try:
            return self.codec.read(value)
        except ValueError as error:
            what = "text in UTF-8" if self.content_type == "str" else self.content_type
            raise ContentError(f"the bytes are no {what}: {error}", path) from None

    @property
    def _coded(self) -> bool:
        return self.content_type in ("bytes", "image")

    def to_plain(self, name: str, value: Any) -> Any:
        if self.content_type == "str":
            values = tuple(self._values(name, value))
            if not all(isinstance(one, str) for one in values):
                self.codec.encode_values(name, values)  # which names the one that is not
        else:
            tensor = self.encode(name, value)
            values = tuple(_text(one, self._coded) for one in tensor.array().tolist())
        return values if self.many else values[0]

    def schema(self) -> dict[str, Any]:
        item: dict[str, Any] = {"type": "string"}
        if self.content_type == "datetime":
            item["format"] = "date-time"
        elif self.content_type != "str":
            item["contentEncoding"] = "base64"
        return {"type": "array", "items": item} if self.many else item


def _text(element: bytes, coded: bool) -> str:
    return base64.b64encode(element).decode() if coded else element.decode()


class ChoiceSlot(CarriedSlot):
    """What JSON says by text or a number: a Literal, an Enum, a date, a Decimal, a UUID; or a list.

    Its tensor is that of the text or the number.
    """

    def __init__(self, carrier: NumberSlot | ElementSlot, hint: Any) -> None:
        super().__init__(carrier, hint)
        self._choices = ", ".join(map(repr, _choices(get_args(hint)[0] if self.many else hint)))

    def decode(self, tensor: Tensor) -> Any:
        if tensor.parameters.get("content_type") == "json":
            values = [_json(element, at) for at, element in enumerate(tensor.array().ravel())]
            plain: Any = values if self.many else values[0]
        else:
            plain = self.carrier.decode(tensor)
        try:
            return self.from_plain(plain)
        except InvalidMessageError as error:
            raise error.under(".data" if self.many else ".data[0]") from None

    def encode(self, name: str, value: Any) -> Tensor:
        return self.carrier.encode(name, self._told(name, value))

    def _told(self, name: str, value: Any) -> Any:
        """A result as text or a number."""
        try:
            return to_builtins(held(value, self.hint))
        except (ContentError, InvalidResultError) as error:
            what = getattr(self.hint, "__name__", None) or str(self.hint)
            raise promised(name, what, f"{value!r:.60}", str(error)) from None

    def from_text(self, text: bytes | msgspec.Raw) -> Any:
        return self._read(parse_as, bytes(text))

    def from_plain(self, value: Any) -> Any:
        return self._read(convert, value)

    def _read(self, read: Callable[[Any, Any], Any], given: Any) -> Any:
        try:
            return read(given, self.hint)
        except ContentError as error:
            if not self._choices:
                raise
            raise ContentError(f"{error.message}; known are {self._choices}", error.path) from None

    def to_plain(self, name: str, value: Any) -> Any:
        return self._told(name, value)

    def schema(self) -> dict[str, Any]:
        return schema_of(self.hint)


def _choices(hint: Any) -> Iterable[Any]:
    """What JSON may have for a Literal or an Enum."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    is_enum = isinstance(hint, type) and issubclass(hint, enum.Enum)
    return [member.value for member in hint] if is_enum else ()


def _json(element: bytes, at: int) -> Any:
    try:
        return parse_as(element, Any)
    except InvalidMessageError as error:
        raise error.under(f".data[{at}]") from None
