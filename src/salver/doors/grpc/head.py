"""What a request's headers say of a gRPC call; most clients send the same again and again."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from salver.calls.context import pack_meta
from salver.calls.grpc_frames import join_head
from salver.doors.grpc.messages import ENCODINGS
from salver.doors.grpc.tail import BEGINNING, refusal, tail
from salver.doors.http2.headers import HEADER_LIST, Fields, checked
from salver.replica.grpc.status import INTERNAL, RESOURCE_EXHAUSTED, UNIMPLEMENTED
from salver.wire.messages import Meta

if TYPE_CHECKING:
    from salver.doors.grpc.rpc import Rpc

__all__ = ("Handler", "RpcHead", "read_head")

_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_SECONDS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
# What is between client and door, and no metadata.
_OURS: Final = frozenset(
    (b"te", b"content-type", b"content-length", b"host", b"grpc-timeout", b"grpc-encoding",
     b"grpc-accept-encoding")
)  # fmt: skip
_METHOD_NOT_ALLOWED: Final = 405
_UNSUPPORTED_MEDIA_TYPE: Final = 415


class Handler(NamedTuple):
    """What answers a method: begun with its one message, or at once where it takes a stream."""

    begin: Callable[[Rpc, bytes], None]
    takes_stream: bool = False


class RpcHead:
    """Of one call, or of all that are alike. `front` is what precedes the message on the wire."""

    __slots__ = (
        "accepts", "app", "encoding", "front", "handler", "has_meta", "metadata", "model_id",
        "path", "refusal", "request_id", "session_id", "timeout_s",
    )  # fmt: skip

    handler: Handler

    def __init__(self, path: str, metadata: Iterable[tuple[str, str | bytes]], peer: str) -> None:
        self.path = path
        self.metadata = tuple(metadata)
        self.timeout_s: float | None = None
        self.encoding = ""  # of the client's messages
        self.accepts = ""
        self.refusal = b""  # the whole answer, where there is nothing to ask anybody
        self.app = self.request_id = self.model_id = self.session_id = ""
        for key, value in self.metadata:
            if key == "application":
                self.app = _text(value)
            elif key == "request_id":
                self.request_id = _text(value)
            elif key == "multiplexed_model_id":
                self.model_id = _text(value)
            elif key == "session_id":
                self.session_id = _text(value)
        self.has_meta = bool(self.request_id or self.model_id or self.session_id)
        self.front = join_head(self.metadata, peer)
        if self.has_meta:
            # Without an app, the replica says which one it is of.
            meta = Meta(self.request_id, "", "", self.model_id, self.session_id)
            self.front = pack_meta(meta) + self.front


def read_head(fields: Fields, peer: str) -> RpcHead:
    """The head of a call, without its handler. StreamFault: it is none of HTTP's."""
    pseudo, others = checked(fields)
    headers = dict(others)
    path = pseudo.get(b":path", b"").decode("utf-8", "replace")
    try:
        wrong = _wrong(fields, headers)
        metadata = [] if wrong else _metadata(others)
    except ValueError:  # binascii.Error is one
        metadata, wrong = [], _refused(INTERNAL, "Metadata whose name ends with -bin is no base64.")
    head = RpcHead(path, metadata, peer)
    head.refusal = _not_grpc(pseudo, headers) or wrong
    head.encoding = headers.get(b"grpc-encoding", b"").decode("latin-1")
    head.accepts = headers.get(b"grpc-accept-encoding", b"").decode("latin-1")
    if not head.refusal and (given := headers.get(b"grpc-timeout")):
        head.timeout_s = _seconds(given)
    return head


def _not_grpc(pseudo: Mapping[bytes, bytes], headers: Mapping[bytes, bytes]) -> bytes:
    if pseudo.get(b":method") != b"POST":
        return refusal(_METHOD_NOT_ALLOWED)
    if not headers.get(b"content-type", b"").startswith(b"application/grpc"):
        return refusal(_UNSUPPORTED_MEDIA_TYPE)
    return b""


def _wrong(fields: Fields, headers: Mapping[bytes, bytes]) -> bytes:
    """Why nobody is to be asked; empty: somebody is."""
    if sum(len(name) + len(value) + 32 for name, value in fields) > HEADER_LIST:
        return _refused(RESOURCE_EXHAUSTED, f"The metadata have more than {HEADER_LIST} bytes.")
    given = headers.get(b"grpc-timeout")
    if given is not None and _TIMEOUT.fullmatch(given) is None:
        return _refused(INTERNAL, f"grpc-timeout={given.decode('latin-1')!r:.80} is no time.")
    encoding = headers.get(b"grpc-encoding", b"identity").decode("latin-1")
    if encoding not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        text = f"grpc-encoding={encoding!r:.80} is not supported. There are: {known}."
        return _refused(UNIMPLEMENTED, text)
    return b""


def _refused(code: int, text: str) -> bytes:
    return BEGINNING + tail(code, text)


def _seconds(given: bytes) -> float:
    return int(given[:-1]) * _SECONDS[given[-1:]]


def _metadata(fields: Fields) -> list[tuple[str, str | bytes]]:
    found: list[tuple[str, str | bytes]] = []
    for name, value in fields:
        key = name.decode("latin-1")
        if name in _OURS:
            continue
        if name.endswith(b"-bin"):
            found += ((key, _binary(part)) for part in value.split(b","))
        else:
            found.append((key, value.decode("utf-8", "replace")))
    return found


def _binary(value: bytes) -> bytes:
    return b64decode(value + b"=" * (-len(value) % 4), validate=True)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
