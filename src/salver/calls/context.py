"""The call that the code which is running now belongs to, and what its child calls inherit."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Final, Protocol

import msgspec

from salver.wire.messages import Meta

__all__ = (
    "CallContext",
    "Child",
    "current_call",
    "pack_meta",
    "request_id_of",
    "request_ids",
    "unpack_meta",
)

_LENGTH: Final = struct.Struct("<I")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Meta).decode


def request_id_of(peer: str, call_id: int) -> str:
    """The request id of a call that carries none: both ends of a connection can tell it.

    `peer` is the caller's `Hello.name`, which is unique for each connection of an instance.
    """
    return f"{peer}-{call_id:x}"


def request_ids(name: str) -> Callable[[], str]:
    """Ids of requests that no connection carries, in the same form. `name`: of their process, whose
    connections are numbered from 1."""
    numbers = count(1)
    return lambda: request_id_of(f"{name}.0", next(numbers))


def pack_meta(meta: Meta) -> bytes:
    """The bytes that precede the payload of a frame flagged META."""
    body = _encode(meta)
    return _LENGTH.pack(len(body)) + body


def unpack_meta(payload: bytes) -> tuple[Meta, int]:
    """The meta that a payload begins with, and where the payload itself begins."""
    end = 4 + int.from_bytes(payload[:4], "little")
    return _decode(payload[4:end]), end


class Child(Protocol):
    """A call that was made while another ran."""

    def cancel(self) -> None: ...


class CallContext:
    """What is known of one running call. The host sets it; handles read it for the calls they make.

    Without a `request_id` the id is made of `peer` and `call_id` when somebody asks for it.
    """

    __slots__ = (
        "__weakref__",
        "_children",
        "_meta",
        "_request_id",
        "app",
        "call_id",
        "endings",
        "head",
        "model_id",
        "peer",
        "route",
        "session_id",
    )

    def __init__(
        self,
        request_id: str = "",
        app: str = "",
        route: str = "",
        model_id: str = "",
        session_id: str = "",
        peer: str = "",
        call_id: int = 0,
    ) -> None:
        self._request_id = request_id
        self.app = app
        self.route = route
        self.model_id = model_id
        self.session_id = session_id
        self.peer = peer
        self.call_id = call_id
        self.endings: list[Callable[[], object]] | None = None
        self.head = b""  # of an HTTP request
        self._children: set[Child] | None = None
        self._meta = b""

    @property
    def request_id(self) -> str:
        """The id of the request that all these calls serve."""
        if not self._request_id and self.peer:
            self._request_id = request_id_of(self.peer, self.call_id)
        return self._request_id

    @property
    def children(self) -> set[Child]:
        """Calls made by this one that are not done yet."""
        children = self._children
        if children is None:
            children = self._children = set()
        return children

    def cancel_children(self) -> None:
        """Cancel every call that this one made and that is not done yet."""
        if self._children:
            for child in list(self._children):
                child.cancel()

    def for_batch(self) -> CallContext:
        """For work on this call and on others of its app and model: what it calls is its own."""
        return CallContext(
            self._request_id,
            self.app,
            self.route,
            self.model_id,
            self.session_id,
            self.peer,
            self.call_id,
        )

    def at_end(self, callback: Callable[[], object]) -> None:
        """Call back on the home loop when the call and what it left to do have ended."""
        if self.endings is None:
            self.endings = []
        self.endings.append(callback)

    def over(self) -> None:
        """Nothing runs for this call any more."""
        endings, self.endings = self.endings, None
        for ending in endings or ():
            ending()

    @property
    def meta(self) -> bytes:
        """The packed meta of child calls: they inherit the request id, the app and the route."""
        if not self._meta:
            self._meta = self.meta_with("", "")
        return self._meta

    def meta_with(self, model_id: str, session_id: str) -> bytes:
        """The packed meta of a child call for this model and this session."""
        return pack_meta(Meta(self.request_id, self.app, self.route, model_id, session_id))


current_call: Final[ContextVar[CallContext | None]] = ContextVar(
    "salver_current_call", default=None
)
