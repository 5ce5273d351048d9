"""Codecs of BYTES tensors whose elements each stand for one value: text, times, JSON, images."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any, Final, get_args, get_origin

from salver.oip.codecs.image import is_image, is_image_hint, read_image, write_image
from salver.oip.codecs.json import from_json, is_plain, to_json
from salver.oip.errors import ContentError, InvalidResultError
from salver.oip.framing import as_objects
from salver.oip.types import Tensor

__all__ = ("ELEMENT_CODECS", "ElementCodec")


class ElementCodec:
    """Lists of values to BYTES tensors [N] and back; one value is a list of one."""

    def __init__(
        self,
        content_type: str,
        is_one: Callable[[object], bool],
        is_hint: Callable[[object], bool],
        write: Callable[[Any], bytes],
        read: Callable[[bytes], Any],
    ) -> None:
        self.content_type = content_type
        self.is_one = is_one
        self.is_hint = is_hint
        self.write = write
        self.read = read

    def fits(self, hint: object) -> bool:
        if get_origin(hint) is list:
            arguments = get_args(hint)
            return len(arguments) == 1 and self.is_hint(arguments[0])
        return self.is_hint(hint)

    def can_encode(self, value: object) -> bool:
        if isinstance(value, list | tuple):
            return bool(value) and all(map(self.is_one, value))
        return self.is_one(value)

    def encode(self, name: str, value: Any) -> Tensor:
        values: Iterable[Any] = value if isinstance(value, list | tuple) else (value,)
        return self.encode_values(name, values)

    def encode_values(self, name: str, values: Iterable[Any]) -> Tensor:
        """The tensor of these values, whatever their type: a JSON list can be one value."""
        elements = []
        for index, value in enumerate(values):
            try:
                elements.append(self.write(value))
            except (TypeError, ValueError, AttributeError) as error:
                raise InvalidResultError(
                    f"output {name!r}: element {index} ({type(value).__name__}) cannot be written "
                    f"as {self.content_type!r}: {error}"
                ) from None
        parameters = {"content_type": self.content_type} if self.content_type else {}
        return Tensor(name, "BYTES", (len(elements),), as_objects(elements), parameters)

    def decode(self, tensor: Tensor) -> list[Any]:
        if tensor.datatype != "BYTES":
            raise ContentError(
                f"content type {self.content_type!r} needs datatype BYTES, got {tensor.datatype}",
                ".datatype",
            )
        values = []
        for index, element in enumerate(tensor.array().ravel().tolist()):
            try:
                values.append(self.read(element))
            except (ValueError, TypeError) as error:
                raise ContentError(
                    f"the element is no {self.content_type}: {error!s:.200}", f".data[{index}]"
                ) from None
        return values


def _is(*kinds: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kinds)


def _hints(*kinds: object) -> Callable[[object], bool]:
    return lambda hint: any(hint is kind for kind in kinds)


def _from_base64(element: bytes) -> bytes:
    try:
        return base64.b64decode(element, validate=True)
    except binascii.Error as error:
        raise ValueError(f"no valid base64 ({error})") from None


def _write_text(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError("expected str")
    return value.encode()


def _write_image(value: object) -> bytes:
    if not is_image(value):
        raise TypeError("expected an image of PIL")
    return write_image(value)


_BYTES: Final = (bytes, bytearray, memoryview)


def _write_bytes(value: object) -> bytes:
    if not isinstance(value, _BYTES):
        raise TypeError("expected bytes")
    return bytes(value)


def _write_time(value: object) -> bytes:
    if isinstance(value, str):
        datetime.fromisoformat(value)
        return value.encode()
    if not isinstance(value, date):
        raise TypeError("expected a datetime")
    return value.isoformat().encode()


def _never(_: object) -> bool:
    return False


# The order is that in which a value is offered to them.
ELEMENT_CODECS: Final[tuple[ElementCodec, ...]] = (
    ElementCodec("str", _is(str), _hints(str), _write_text, bytes.decode),
    ElementCodec("bytes", _is(*_BYTES), _hints(bytes), _write_bytes, bytes),
    ElementCodec("datetime", _is(datetime), _hints(datetime), _write_time,
                 lambda element: datetime.fromisoformat(element.decode())),
    ElementCodec("image", is_image, is_image_hint, _write_image, read_image),
    ElementCodec("pillow_image", _never, _never,
                 lambda image: base64.b64encode(write_image(image)), read_image),
    ElementCodec("base64", _never, _never, base64.b64encode, _from_base64),
    ElementCodec("json", is_plain, _never, to_json, from_json),
    ElementCodec("pd_json", _never, _never, to_json, from_json),
)  # fmt: skip
