"""gRPC's messages: five bytes in front of each, several in a piece or one in several pieces."""

from __future__ import annotations

import struct
import zlib
from typing import Final

from salver.replica.grpc.status import INTERNAL, RESOURCE_EXHAUSTED

__all__ = ("ENCODINGS", "PREFIX", "Assembly", "MessageFault", "compressed", "decompressed")

PREFIX: Final = struct.Struct(">BI")  # whether it is compressed, length
# By the numbers of grpc.Compression.
ENCODINGS: Final = ("identity", "deflate", "gzip")
_WINDOW_BITS: Final = {"deflate": 15, "gzip": 31}
_LARGE: Final = 64 << 10  # what is as long is not copied once more


class MessageFault(Exception):
    """A message that ends the call, and by which status."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Assembly:
    """Messages out of bytes, however these are cut."""

    __slots__ = ("_data", "_longest")

    def __init__(self, longest: int) -> None:
        self._data = bytearray()
        self._longest = longest

    def __len__(self) -> int:
        """How many bytes there are of a message that has not come whole."""
        return len(self._data)

    def feed(self, piece: bytes) -> list[tuple[bool, bytes | memoryview]]:
        """The messages that this completes, and whether each is compressed. MessageFault."""
        data = self._data
        data += piece
        found: list[tuple[bool, bytes | memoryview]] = []
        at, size = 0, len(data)
        while size - at >= PREFIX.size:
            flag, length = PREFIX.unpack_from(data, at)
            if length > self._longest:
                raise too_long(length, self._longest)
            begin = at + PREFIX.size
            if size - begin < length:
                break
            at = begin + length
            if length >= _LARGE and at == size and not found:
                self._data = bytearray()
                return [(flag != 0, memoryview(data)[begin:])]
            found.append((flag != 0, bytes(data[begin:at])))
        if at:
            del data[:at]
        return found


def too_long(length: int, longest: int) -> MessageFault:
    """What is said of a message that is longer than the limit."""
    return MessageFault(
        RESOURCE_EXHAUSTED,
        f"The message has {length} bytes: more than grpc_options.max_receive_message_bytes="
        f"{longest}.",
    )


def compressed(encoding: str, message: bytes | memoryview) -> bytes:
    """The message as `decompressed` reads it."""
    packer = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
    return packer.compress(message) + packer.flush()


def decompressed(encoding: str, message: bytes | memoryview, longest: int) -> bytes:
    """The message as it was. MessageFault: it is longer than that, or broken."""
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise MessageFault(INTERNAL, "A message is compressed, and grpc-encoding does not say how.")
    unpacker = zlib.decompressobj(bits)
    try:
        whole = unpacker.decompress(message, longest + 1)
    except zlib.error as error:
        raise MessageFault(INTERNAL, f"A message is not in {encoding}: {error}.") from None
    if len(whole) > longest:
        raise too_long(len(whole), longest)
    if not unpacker.eof:
        raise MessageFault(INTERNAL, f"A message in {encoding} is cut.")
    return whole
