"""What a client's call can end with.

ClientError            `status` is that of the answer, 0: there was none
|-- InputError         the call is not right: seen before anything was sent, or by the server
|-- NotFoundError      no such model, version or path
|-- UnavailableError   the server cannot now, or nobody listens: nothing has begun
|-- LinkError          the link was lost in the middle: whether the call was done is unknown
|-- DeadlineError      the time was over (also a TimeoutError); so, too, it may have been done
`-- ServerError        the server, or the model's own code, failed
"""

from __future__ import annotations

from typing import Final

import msgspec

from salver.errors import SalverError

__all__ = (
    "ClientError",
    "DeadlineError",
    "InputError",
    "LinkError",
    "NotFoundError",
    "ServerError",
    "UnavailableError",
    "error_for",
)

_LONGEST: Final = 2000


class ClientError(SalverError):
    """Base of all that a call can end with."""

    def __init__(self, message: str, status: int = 0) -> None:
        self.message = message
        self.status = status
        super().__init__(message)


class InputError(ClientError, ValueError):
    """The call is not right."""


class NotFoundError(ClientError, LookupError):
    """There is no such model, version or path."""


class UnavailableError(ClientError, ConnectionError):
    """The server refuses calls just now, or cannot be reached."""


class LinkError(ClientError, ConnectionError):
    """The link was lost while the call was under way; it was not repeated."""


class DeadlineError(ClientError, TimeoutError):
    """There was no answer in time."""


class ServerError(ClientError):
    """The server, or the model's own code, failed."""


_OF_STATUS: Final[dict[int, type[ClientError]]] = {
    404: NotFoundError,
    405: NotFoundError,
    408: DeadlineError,
    429: UnavailableError,
    502: LinkError,  # between the server and what it asked in turn
    503: UnavailableError,
    504: DeadlineError,
}


def error_for(status: int, body: bytes | memoryview) -> ClientError:
    """The error that an answer of that status is, with the server's own message."""
    kind = _OF_STATUS.get(status)
    if kind is None:
        kind = InputError if 400 <= status < 499 else ServerError
    return kind(_message(bytes(body)) or f"The server answered {status}.", status)


def _message(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    if isinstance(found, dict):
        for name in ("error", "detail", "message"):
            if isinstance(found.get(name), str):
                return str(found[name])
    return body.decode(errors="replace").strip()[:_LONGEST]
