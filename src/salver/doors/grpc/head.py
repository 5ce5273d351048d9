"""What a gRPC call's metadata says to the door; most clients send the same again and again."""

from __future__ import annotations

from typing import Any, Final

from salver.calls.context import pack_meta
from salver.calls.grpc_frames import join_head
from salver.wire.messages import Meta

__all__ = ("CallHead", "HeadCache")

_CACHE_SIZE: Final = 1024  # heads that are remembered, each up to:
_HEAD_SIZE: Final = 1024


class CallHead:
    """Of one call, or of all that are alike. `front` is what precedes the message on the wire."""

    __slots__ = ("app", "front", "has_meta", "model_id", "request_id", "session_id")

    def __init__(self, metadata: Any, peer: str) -> None:
        self.app = self.request_id = self.model_id = self.session_id = ""
        for key, value in metadata:
            if key == "application":
                self.app = _text(value)
            elif key == "request_id":
                self.request_id = _text(value)
            elif key == "multiplexed_model_id":
                self.model_id = _text(value)
            elif key == "session_id":
                self.session_id = _text(value)
        self.has_meta = bool(self.request_id or self.model_id or self.session_id)
        self.front = join_head(metadata, peer)
        if self.has_meta:
            # Without an app, the replica says which one it is of.
            meta = Meta(self.request_id, "", "", self.model_id, self.session_id)
            self.front = pack_meta(meta) + self.front


class HeadCache:
    """Heads by what they were read from."""

    def __init__(self) -> None:
        self._known: dict[Any, CallHead] = {}

    def read(self, context: Any) -> CallHead:
        """The head of the call that this `grpc.aio.ServicerContext` is of."""
        key = context.invocation_metadata(), context.peer()
        head = self._known.get(key)
        if head is None:
            head = CallHead(*key)
            if not head.request_id and len(head.front) <= _HEAD_SIZE:
                if len(self._known) >= _CACHE_SIZE:
                    self._known.clear()
                self._known[key] = head
        return head


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
