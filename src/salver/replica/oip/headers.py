"""Headers of a request and of its answer, as the parameter `headers` of the neutral messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from salver.oip.errors import InvalidResultError
from salver.oip.types import InferResponse
from salver.replica.http_request import parse_head

__all__ = ("as_http", "as_metadata", "received", "taken_from")

_PARAMETER: Final = "headers"
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_KEY: Final = re.compile(r"[a-z0-9_.-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What the server says itself; a model that answers with what it received does not mean these.
_OWN: Final = frozenset(
    ("connection", "content-encoding", "content-length", "content-type", "host",
     "inference-header-content-length", "keep-alive", "te", "trailer", "transfer-encoding",
     "upgrade", "x-request-id")
)  # fmt: skip


def received(head: bytes) -> dict[str, str]:
    """The headers of a raw head, by lower-case names; of several with one name the last."""
    return {name.decode("latin-1"): v.decode("latin-1") for name, v in parse_head(head)[3]}


def taken_from(response: InferResponse) -> dict[str, Any]:
    """The headers that a model wants to be sent, which are no part of the body."""
    if _PARAMETER not in response.parameters:
        return {}
    left = dict(response.parameters)
    headers = left.pop(_PARAMETER)
    response.parameters = left
    if not isinstance(headers, Mapping):
        raise InvalidResultError(
            f"The parameter 'headers' of a response is a dict of text, got {headers!r:.60}."
        )
    return {str(name): value for name, value in headers.items() if name.lower() not in _OWN}


def as_http(headers: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """As they stand in an HTTP head."""
    return [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in _checked(headers.items(), _NAME)
    ]


def as_metadata(headers: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """As trailing metadata of gRPC, whose keys are in lower case."""
    return tuple(_checked(((name.lower(), value) for name, value in headers.items()), _KEY))


def _checked(
    headers: Iterable[tuple[str, Any]], names: re.Pattern[str]
) -> Iterable[tuple[str, str]]:
    for name, value in headers:
        if not (names.fullmatch(name) and isinstance(value, str) and _VALUE.fullmatch(value)):
            raise InvalidResultError(f"Header {name!r:.60}: {value!r:.60} cannot be sent.")
        yield name, value
