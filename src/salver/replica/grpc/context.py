"""What user code sees of a gRPC call: `grpc_context`, and the messages of a stream."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from salver.calls.context import CallContext
from salver.calls.grpc_frames import read_head
from salver.replica.grpc.status import OK
from salver.wire.messages import CallHead, CallTail

if TYPE_CHECKING:
    import grpc

    from salver.replica.upload import MessageInbox

__all__ = ("RayServegRPCContext", "gRPCInputStream")

T = TypeVar("T")
Metadata = tuple[tuple[str, str | bytes], ...]
_REQUEST_ID = "request_id"
_key = re.compile("[0-9a-z_.-]+").fullmatch
_RESERVED = frozenset(
    ("connection", "content-length", "content-type", "host", "keep-alive", "proxy-connection", "te",
     "transfer-encoding", "upgrade")
)  # fmt: skip


class RayServegRPCContext:
    """The call as gRPC shows it: what came with it, and what is to go back with the answer.

    A method that has a parameter named `grpc_context` is given one.
    """

    def __init__(self, call: CallContext, head: bytes) -> None:
        self._call = call
        self._raw = head
        self._head: CallHead | None = None
        self._code: Any = None
        self._details: str | None = None
        self._compression: Any = None
        self._trailing: Metadata = ()

    def _read(self) -> CallHead:
        if self._head is None:
            self._head = read_head(self._raw)
        return self._head

    # ---- what came

    def invocation_metadata(self) -> Metadata:
        """What the client sent along: pairs of key and value."""
        return self._read().metadata

    def peer(self) -> str:
        """The client's address, such as `ipv4:127.0.0.1:43210`."""
        return self._read().peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """None: clients do not prove who they are."""
        return None

    def peer_identity_key(self) -> str | None:
        """None: clients do not prove who they are."""
        return None

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Empty: clients do not prove who they are."""
        return {}

    @property
    def request_id(self) -> str:
        """The id of this call, from its metadata or made for it."""
        return self._call.request_id

    @property
    def application(self) -> str:
        """The app that was called."""
        return self._call.app

    @property
    def multiplexed_model_id(self) -> str:
        """The model that was asked for; empty: none."""
        return self._call.model_id

    @property
    def session_id(self) -> str:
        """The session that the call belongs to; empty: none."""
        return self._call.session_id

    @property
    def traceparent(self) -> str:
        """The span that the call belongs to, as W3C's Trace Context writes it."""
        return self._text("traceparent")

    @property
    def tracestate(self) -> str:
        """What goes with `traceparent`."""
        return self._text("tracestate")

    def _text(self, wanted: str) -> str:
        values = (value for key, value in self.invocation_metadata() if key == wanted)
        return str(next(values, ""))

    # ---- what goes back

    def code(self) -> grpc.StatusCode | None:
        """The status code that was set."""
        return self._code

    def set_code(self, code: grpc.StatusCode) -> None:
        """Answer with this status code; also when the method raises afterwards."""
        number = getattr(code, "value", None)
        if not isinstance(number, tuple) or not isinstance(number[0], int):
            raise TypeError(f"set_code() takes a grpc.StatusCode, not {code!r}.")
        self._code = code

    def details(self) -> str | None:
        """The text that was set beside the status code."""
        return self._details

    def set_details(self, details: str) -> None:
        """Answer with this text beside the status code."""
        if not isinstance(details, str):
            raise TypeError(f"set_details() takes a str, not {details!r}.")
        self._details = details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compress the answer so, where the client understands it; before the first message."""
        if not isinstance(getattr(compression, "value", compression), int):
            raise TypeError(f"set_compression() takes a grpc.Compression, not {compression!r}.")
        self._compression = compression

    def trailing_metadata(self) -> Metadata:
        """What goes back to the client after the answer, beside `request_id`."""
        return self._trailing

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        """Send this back to the client after the answer, beside `request_id`."""
        pairs = tuple((key, value) for key, value in metadata)
        for pair in pairs:
            if not _valid(*pair):
                raise TypeError(
                    f"set_trailing_metadata(): {pair!r:.200} is not valid: expected a key of lower "
                    "case letters, digits, '-', '_' and '.', none of gRPC's or HTTP's own, and a "
                    "str of printable ASCII, or for a key that ends with '-bin', bytes."
                )
        self._trailing = tuple(pair for pair in pairs if pair[0] != _REQUEST_ID)

    # ---- for the replica

    @property
    def failed(self) -> bool:
        """Whether a status code other than OK was set."""
        return self._code is not None and self._code.value[0] != OK

    @property
    def compression(self) -> int | None:
        """The number of the algorithm that was set."""
        number: int | None = getattr(self._compression, "value", self._compression)
        return number

    def tail(self) -> CallTail | None:
        """How the call ends; None: as if nothing had been set."""
        if self._code is None and not self._trailing and self._compression is None:
            return None
        code = OK if self._code is None else self._code.value[0]
        return CallTail(code, self._details or "", self._trailing, self.compression)


def _valid(key: object, value: object) -> bool:
    """Whether a header can carry it: clients drop a whole answer for one that cannot be read."""
    if not isinstance(key, str) or not _key(key) or key.startswith("grpc-") or key in _RESERVED:
        return False
    if key.endswith("-bin"):
        return isinstance(value, bytes)
    return isinstance(value, str) and value.isascii() and (value.isprintable() or not value)


class gRPCInputStream(AsyncIterator[T], Generic[T]):  # noqa: N801
    """The messages of a client that sends a stream: iterate over it with `async for`."""

    def __init__(self, inbox: MessageInbox, decode: Callable[[bytes], T]) -> None:
        self._inbox = inbox
        self._decode = decode
        self._exhausted = False
        self._cancelled = False

    def is_exhausted(self) -> bool:
        """Whether the last message has been taken."""
        return self._exhausted

    def is_cancelled(self) -> bool:
        """Whether nothing more comes because the client has gone, or `cancel` was called."""
        return self._cancelled or self._inbox.cancelled

    def cancel(self) -> None:
        """Take no more messages: the iteration ends."""
        self._cancelled = True
        self._inbox.end()

    async def __anext__(self) -> T:
        message = None if self._cancelled else await self._inbox.take()
        if message is None:
            self._exhausted = True
            raise StopAsyncIteration
        return self._decode(message)

    def __iter__(self) -> NoReturn:
        raise TypeError(
            "The messages of a client arrive on the event loop: iterate over them with "
            "`async for`, in a method that is `async def`."
        )
