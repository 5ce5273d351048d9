"""An upgraded connection: bytes both ways, which this door does not look into."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from salver.doors.http import HttpCall
from salver.wire.frames import STREAM

if TYPE_CHECKING:
    from salver.wire.payload import Segments

__all__ = ("TunnelCall",)

_REASON: Final = b"the replica is gone"
_SERVICE_RESTART: Final = 1012  # what a WebSocket's client takes for an invitation to come again
_GONE: Final = struct.pack("!BBH", 0x88, 2 + len(_REASON), _SERVICE_RESTART) + _REASON


class TunnelCall(HttpCall):
    """A WebSocket, which the replica speaks. Only when the replica is gone does the door say so."""

    __slots__ = ("_torn",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._torn = False  # the client has had a part of a message, and not its end

    def chunk(self, flags: int, payload: bytes | Segments) -> None:
        self._torn = bool(flags & STREAM)
        super().chunk(flags, payload)

    def last_words(self) -> bytes:
        return b"" if self._torn else _GONE
