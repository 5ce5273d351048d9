"""BYTES in binary form: each element is its length (4 bytes, little-endian), then its bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from salver.oip.errors import InvalidResultError, InvalidTensorError

__all__ = ("pack", "unpack")

_LENGTH = struct.Struct("<I")
_MAX_ELEMENT = 2**32 - 1


def unpack(contents: bytes | bytearray | memoryview, count: int) -> npt.NDArray[Any]:
    """The elements as a flat array of bytes objects; they must fill the contents exactly."""
    data = bytes(contents)  # no copy when it is bytes already; slices of bytes are the elements
    end = len(data)
    if end < 4 * count:
        raise InvalidTensorError(
            f"{end} bytes are given, but {count} elements of BYTES take at least {4 * count}"
        )
    elements: list[bytes] = []
    length_at = _LENGTH.unpack_from
    at = 0
    while at + 4 <= end and len(elements) < count:
        start = at + 4
        at = start + length_at(data, at)[0]
        if at > end:
            raise InvalidTensorError(
                f"element {len(elements)} claims {at - start} bytes, but {end - start} are left"
            )
        elements.append(data[start:at])
    if len(elements) != count or at != end:
        raise InvalidTensorError(
            f"{len(elements)} of {count} elements of BYTES were read, "
            f"and {end - at} bytes are left over"
        )
    return as_objects(elements)


def pack(elements: Iterable[bytes]) -> bytes:
    """The binary form of these elements."""
    parts: list[bytes] = []
    for element in elements:
        if len(element) > _MAX_ELEMENT:
            raise InvalidResultError("An element of BYTES must be shorter than 4 GiB.")
        parts += (_LENGTH.pack(len(element)), element)
    return b"".join(parts)


def as_objects(elements: list[bytes]) -> npt.NDArray[Any]:
    """A flat object array; by assignment, as np.array() would read the bytes as text."""
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array
