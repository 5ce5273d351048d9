"""HPACK: header blocks read with a memory for those that come again, and written without state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

from hpack import Decoder, HPACKError, OversizedHeaderListError

from salver.doors.http2.frames import (
    BLOCK,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    PROTOCOL_ERROR,
    ConnectionFault,
    StreamFault,
)

__all__ = ("HEADER_LIST", "Fields", "HeadReader", "checked", "indexed", "literal")

HEADER_LIST: Final = 16 << 10  # bytes of names and values that a request is let have
_BLOCKS: Final = 64  # blocks that are remembered, each up to:
_BLOCK: Final = 1024
_NEEDED: Final = (b":method", b":scheme", b":path")
_PSEUDO: Final = frozenset((*_NEEDED, b":authority"))
_IN_NAMES: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_BREAKS: Final = b"\0\r\n"
_NOT_HERE: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)

Fields: TypeAlias = list[tuple[bytes, bytes]]
Head = TypeVar("Head")


class HeadReader(Generic[Head]):
    """The header blocks of one client. `parse` makes what is kept of the fields of a request.

    Most clients send the same block again and again. It means the same for as long as the table
    that the client's blocks refer to has not changed, so that is when it may be remembered.
    """

    __slots__ = ("_decoder", "_known", "_parse")

    def __init__(self, parse: Callable[[Fields], Head]) -> None:
        self._decoder = Decoder(max_header_list_size=BLOCK)
        self._known: dict[bytes, Head] = {}
        self._parse = parse

    def read(self, block: bytes) -> Head:
        """What the block says. ConnectionFault, StreamFault."""
        head = self._known.get(block)
        if head is not None:
            return head
        fields, changed = self._decode(block)
        head = self._parse(fields)
        if not changed and len(block) <= _BLOCK:
            if len(self._known) >= _BLOCKS:
                self._known.clear()
            self._known[block] = head
        return head

    def begins(self, block: bytes) -> bool:
        """Whether the block is a request's, where none is awaited. ConnectionFault."""
        fields, _ = self._decode(block)
        return any(name[:1] == b":" for name, _ in fields)

    def _decode(self, block: bytes) -> tuple[Fields, bool]:
        """Its fields, and whether it has changed the table."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        size, count, front = table.maxsize, len(entries), entries[0] if entries else None
        try:
            fields: Fields = [*self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "The headers are too long.") from None
        except HPACKError as error:
            raise ConnectionFault(COMPRESSION_ERROR, str(error)) from None
        # Entries come in front and go at the end, so that any change shows in one of these.
        now = entries[0] if entries else None
        changed = table.maxsize != size or len(entries) != count or now is not front
        if changed:
            self._known.clear()
        return fields, changed


def checked(fields: Fields) -> tuple[dict[bytes, bytes], Fields]:
    """Pseudo-headers and the others. StreamFault: no request may have such."""
    pseudo: dict[bytes, bytes] = {}
    others: Fields = []
    for name, value in fields:
        if name[:1] == b":":
            if others or name in pseudo or name not in _PSEUDO:
                raise StreamFault(PROTOCOL_ERROR, "A pseudo-header is where it may not be.")
            pseudo[name] = value
        elif name in _NOT_HERE or not name or (name == b"te" and value != b"trailers"):
            raise StreamFault(PROTOCOL_ERROR, f"{name!r:.80} is no header of HTTP/2.")
        else:
            others.append((name, value))
    if not all(map(pseudo.get, _NEEDED)) and pseudo.get(b":method") != b"CONNECT":
        raise StreamFault(PROTOCOL_ERROR, "A pseudo-header is missing.")
    names = b"".join([name for name, _ in others])
    values = b"".join([value for _, value in fields])
    if names.translate(None, _IN_NAMES) or len(values.translate(None, _BREAKS)) < len(values):
        raise StreamFault(PROTOCOL_ERROR, "A header has characters that none may have.")
    return pseudo, others


def indexed(number: int) -> bytes:
    """A field of the static table."""
    return bytes((0x80 | number,))


def literal(name: bytes, value: bytes) -> bytes:
    """A field as it is, which the client's table does not take in."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(number: int) -> bytes:
    """An integer with a prefix of seven bits."""
    if number < 0x7F:
        return bytes((number,))
    digits = bytearray((0x7F,))
    number -= 0x7F
    while number >= 0x80:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)
