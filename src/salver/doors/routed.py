"""An HTTP request as a user's request router sees it, before a replica has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from salver.errors import SalverError
from salver.replica.http_request import LazyRequest

if TYPE_CHECKING:
    from salver.doors.http import HttpCall

__all__ = ("RoutedRequest",)


class RoutedRequest(LazyRequest):
    """What the app's code will get, with the body if that came whole."""

    def __init__(self, call: HttpCall) -> None:
        head = call.head.raw
        body: bytes | None = None
        if call.flow is None:
            held = bytes(call.slab.view[: call.head.length]) if call.slab is not None else b""
            body = call.payload[len(head) :] + held
        super().__init__(_Here(call), head + call.conn.client, body)

    @property
    def asgi_scope(self) -> dict[str, Any]:
        """Ray Serve's name for `scope`."""
        return self.scope


class _Here:
    """Where the request is: at the door."""

    state = None
    payload = None

    def __init__(self, call: HttpCall) -> None:
        self._settings = call.conn.door.settings
        self._route = call.route

    @property
    def cancelled(self) -> bool:
        return False

    @property
    def root_path(self) -> str:
        return (self._settings.root_path + self._route).rstrip("/")

    @property
    def secure(self) -> bool:
        return self._settings.secure

    async def next_body(self) -> dict[str, Any]:
        raise SalverError(
            "The body of this request has not come yet, and a router does not wait for it: it goes "
            "to the replica. Choose by the head, such as its path and headers."
        )
