"""One call as the router and the links see it. Handles and doors derive their own from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from salver.wire.payload import Segments, load_error

if TYPE_CHECKING:
    from salver.calls.link import Link
    from salver.calls.router import Router

__all__ = ("DONE", "QUEUED", "SENT", "Call")

QUEUED: Final = 0  # with the caller: no replica has it
SENT: Final = 1  # with the replica of `link`, as `call_id`
DONE: Final = 2  # answered, failed or cancelled: nothing further happens to it


class Call:
    """One request. `Router.submit` gives it to a link; the link tells it what comes back.

    All of it happens on the home loop. A subclass initialises the slots by `Call.__init__` (or sets
    them itself where every nanosecond counts) and sets `state = DONE` in `answered` of a whole
    answer, `ended` and `failed`; the link has let go of the call by then.
    """

    __slots__ = ("call_id", "link", "router", "state", "streaming", "ticket")

    router: Router | None
    link: Link | None
    call_id: int
    state: int
    streaming: bool
    ticket: int  # order of arrival at the router; 0: it is for the replica of its link, no other

    def __init__(self, *, streaming: bool = False) -> None:
        self.router = None
        self.link = None
        self.call_id = 0
        self.state = QUEUED
        self.streaming = streaming
        self.ticket = 0

    # What routers with a rule of their own ask for; others do not.

    protocol: ClassVar[str] = ""  # "http" or "grpc" of what came to a door

    @property
    def request_id(self) -> str:
        """The id of the request that it serves; empty: it is given one later."""
        return ""

    @property
    def method(self) -> str:
        """The method of a handle's call; empty: it is an HTTP request."""
        return ""

    @property
    def route(self) -> str:
        """The path that its app is under; empty: it came by none."""
        return ""

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a handle's call, or what a door has of a request."""
        return (), {}

    @property
    def model_id(self) -> str:
        """The model that it asks for; empty: none."""
        return ""

    @property
    def session_id(self) -> str:
        """The session that it belongs to; empty: none."""
        return ""

    def send(self, link: Link, call_id: int) -> None:
        """Write the REQ frame. Called again, on another link, when the first had not begun."""
        raise NotImplementedError

    def answered(self, flags: int, payload: bytes | Segments) -> None:
        """RES came: the whole answer, or (with STREAM among the flags) the head of a stream."""
        raise NotImplementedError

    def chunk(self, flags: int, payload: bytes | Segments) -> None:
        """CHUNK came: one item of a stream."""
        raise NotImplementedError

    def ended(self, flags: int) -> None:
        """END came: the stream is complete."""
        raise NotImplementedError

    def credit(self, amount: int) -> None:
        """CREDIT came: so many more chunks of the request's body may be sent."""

    def failed(self, error: BaseException) -> None:
        """No answer will come, and this is why. Ends a stream, too."""
        raise NotImplementedError

    def errored(self, payload: bytes | Segments) -> None:
        """ERR came: the callee raised."""
        self.failed(load_error(payload))
