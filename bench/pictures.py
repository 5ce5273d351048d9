"""A picture of 1x3x224x224 32-bit floats, in the form of a gRPC message of the protocol."""

from __future__ import annotations

from array import array

SHAPE = [1, 3, 224, 224]
PIXELS = [(n * 7919 % 65521) / 65521 for n in range(3 * 224 * 224)]
RAW = array("f", PIXELS).tobytes()


def infer_request() -> bytes:
    """A serialised ModelInferRequest to model `m` with the raw picture as input `x`."""
    shape = b"".join(map(_varint, SHAPE))
    tensor = _field(1, b"x") + _field(2, b"FP32") + _field(3, shape)
    return _field(1, b"m") + _field(5, tensor) + _field(7, RAW)


def _field(number: int, contents: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(contents)) + contents


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
