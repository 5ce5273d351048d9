"""What an HTTP request asks of which model: from its head, which is understood once."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

import msgspec

from salver.oip.errors import InvalidMessageError, ProtocolError
from salver.replica.http_request import parse_head
from salver.replica.oip.coding import preferred

__all__ = ("Ask", "MethodNotAllowedError", "NotFoundError", "ask_of", "plain_ask_of")

_V2: Final = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(.+))?")
_V1: Final = re.compile(r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?:([^/]*)")
_POST: Final = frozenset(
    ("infer", "infer_stream", "generate", "generate_stream", "predict", "explain")
)
_GET: Final = frozenset(("", "config", "docs", "docs/dataplane.json"))


class NotFoundError(ProtocolError):
    """No part of the protocol is found at this path."""


class MethodNotAllowedError(ProtocolError):
    """The path is right, the method is not."""

    def __init__(self, given: str, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(f"{given} is not allowed here; use {allowed}.")


class Ask(msgspec.Struct, frozen=True):
    """One request's head, as far as it matters here."""

    model: str
    version: str
    action: str
    header_length: str | None = None
    coding: str = ""  # of the body
    accepts: str = ""  # coding of the answer


def ask_of(head: bytes, mount: int = 0) -> Ask:
    """The ask of a raw head; so much of its path is the server's root path.

    NotFoundError, MethodNotAllowedError, InvalidMessageError.
    """
    method, target, _, headers, _ = parse_head(head)
    path = target.partition(b"?")[0].decode("latin-1")[mount:].rstrip("/")
    name, version, action = _parts(path)
    allowed = "POST" if action in _POST else "GET"
    if action not in _POST and action not in _GET:
        raise NotFoundError(f"There is no {action[:60]!r} of a model.")
    if method != allowed and not (method == "HEAD" and allowed == "GET"):
        raise MethodNotAllowedError(method[:20], allowed)
    return Ask(name, version, action, *_facts(headers))


def plain_ask_of(head: bytes, root: str) -> Ask:
    """The ask of a plain JSON request; its `model` is the method's name, empty for the main one."""
    method, target, _, headers, _ = parse_head(head)
    path = target.partition(b"?")[0].decode("latin-1")
    name = unquote(path[len(root) :].strip("/"))
    if method in ("GET", "HEAD") and not name:
        return Ask("", "", "described")
    if method != "POST":
        raise MethodNotAllowedError(method[:20], "POST")
    return Ask(name, "", "plain", *_facts(headers))


def _parts(path: str) -> tuple[str, str, str]:
    found = _V2.fullmatch(path) or _V1.fullmatch(path)
    if found is None:
        raise NotFoundError(f"Path {path[:80]!r} is not part of the protocol.")
    name, version, action = found.groups()
    return unquote(name), unquote(version or ""), action or ""


def _facts(headers: list[tuple[bytes, bytes]]) -> tuple[str | None, str, str]:
    length: str | None = None
    coding = accepts = ""
    for name, value in headers:
        if name == b"inference-header-content-length":
            if length is not None:
                raise InvalidMessageError("the header is given twice", name.decode())
            length = value.decode("latin-1")
        elif name == b"content-encoding":
            coding = value.decode("latin-1")
        elif name == b"accept-encoding":
            accepts = preferred(value.decode("latin-1"))
    return length, coding, accepts
