"""Where bytes stop being the message that they are said to be, for whoever sent them to look."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from salver.oip.proto.wire import SIZES, read_varint

__all__ = ("Break", "find_break")

_MOST: Final = 10_000  # fields that are looked at: it is the sender's time, not everybody's
_NUMBERS: Final = 2**29
_FIXED: Final = {
    FieldDescriptor.TYPE_FLOAT: 4, FieldDescriptor.TYPE_DOUBLE: 8,
    FieldDescriptor.TYPE_FIXED32: 4, FieldDescriptor.TYPE_FIXED64: 8,
    FieldDescriptor.TYPE_SFIXED32: 4, FieldDescriptor.TYPE_SFIXED64: 8,
}  # fmt: skip
_BYTES: Final = (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING)


class Break(NamedTuple):
    """The innermost field that is wrong, as a path, and what is wrong with it."""

    path: str
    why: str


def find_break(kind: Descriptor, data: bytes | memoryview) -> Break | None:
    """The first place where the bytes are no such message; None: it is none that is known here."""
    try:
        return _Search(data).within(kind, 0, len(data), "$")
    except _TooManyError:
        return None


class _TooManyError(Exception):
    """There are more fields than are looked at."""


class _Search:
    def __init__(self, data: bytes | memoryview) -> None:
        self._data = data
        self._left = _MOST

    def within(self, kind: Descriptor, at: int, end: int, path: str) -> Break | None:
        """The first break between these bytes, which are said to be a message of that kind."""
        seen: Counter[int] = Counter()
        while at < end:
            self._left -= 1
            if not self._left:
                raise _TooManyError
            start = at
            try:
                tag, at = read_varint(self._data, at)
                number, form = tag >> 3, tag & 7
                if not 0 < number < _NUMBERS:
                    raise ValueError("no number of a field")
                field: Any = kind.fields_by_number.get(number)
                place = _place(path, field, number, seen[number])
                seen[number] += 1
                length, at = self._length(form, at)
            except (IndexError, ValueError, KeyError):
                return Break(path, f"no field begins at byte {start}")
            if at + length > end:
                why = f"{length} bytes are announced at byte {start}, but {end - at} are left"
                return Break(place, why)
            found = self._inside(field, at, at + length, place) if field and form == 2 else None
            if found is not None:
                return found
            at += length
        return None

    def _length(self, form: int, at: int) -> tuple[int, int]:
        if form == 2:
            return read_varint(self._data, at)
        if form == 0:
            return 0, read_varint(self._data, at)[1]
        return SIZES[form], at

    def _inside(self, field: Any, at: int, end: int, place: str) -> Break | None:
        """What is wrong with a field that has a length."""
        if field.message_type is not None:
            return self.within(field.message_type, at, end, place)
        if field.type == FieldDescriptor.TYPE_STRING:
            try:
                str(self._data[at:end], "utf-8")
            except UnicodeDecodeError as error:
                return Break(place, f"byte {at + error.start} is no UTF-8")
        elif field.type not in _BYTES and at < end:
            width = _FIXED.get(field.type)
            whole = not (end - at) % width if width else self._data[end - 1] < 0x80
            if not whole:
                return Break(place, f"its last number breaks off at byte {end}")
        return None


def _place(path: str, field: Any, number: int, index: int) -> str:
    if field is None:
        return f"{path}.{number}"
    return f"{path}.{field.name}[{index}]" if field.is_repeated else f"{path}.{field.name}"
