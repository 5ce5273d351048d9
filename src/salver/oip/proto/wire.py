"""The fields of a message as they lie in its bytes: a few are found without reading the rest."""

from __future__ import annotations

from typing import Final

__all__ = ("SIZES", "Field", "fields", "read_varint", "varint")

# (number and wire type, where the field starts, where its contents start, where it ends)
Field = tuple[int, int, int, int]

SIZES: Final = {1: 8, 5: 4}  # of contents, by wire type


def fields(data: bytes | memoryview, most: int) -> list[Field] | None:
    """The fields of the outermost level; None: there are more, or the bytes are no message."""
    found: list[Field] = []
    at, end = 0, len(data)
    try:
        while at < end:
            if len(found) == most:
                return None
            start = at
            tag, at = read_varint(data, at)
            kind = tag & 7
            inside = at
            if kind == 2:
                length, inside = read_varint(data, at)
                at = inside + length
            elif kind == 0:
                _, at = read_varint(data, at)
            else:
                at += SIZES[kind]
            if at > end:
                return None
            found.append((tag, start, inside, at))
    except (IndexError, KeyError, ValueError):
        return None
    return found


def read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number at that place, and where it ends. IndexError, ValueError: there is none."""
    number = data[at]
    at += 1
    if number < 0x80:
        return number, at
    number &= 0x7F
    for shift in range(7, 70, 7):
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("a number of more than ten bytes")


def varint(number: int) -> bytes:
    """A number as it precedes contents of that length."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
