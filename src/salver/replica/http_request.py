"""The request that user code gets: the head is parsed when somebody looks at it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Final, Protocol
from urllib.parse import unquote_to_bytes

from starlette.requests import Request, empty_send

__all__ = ("Incoming", "LazyRequest", "build_scope", "parse_head")

_PIECE: Final = 256 * 1024

RawHead = tuple[str, bytes, str, list[tuple[bytes, bytes]], bytes]


class Incoming(Protocol):
    """Where a request comes from: what the host knows of the call that carries it."""

    payload: Any  # the body, until somebody has it

    @property
    def cancelled(self) -> bool: ...

    @property
    def root_path(self) -> str: ...

    @property
    def secure(self) -> bool: ...

    @property
    def state(self) -> dict[str, Any] | None: ...

    async def next_body(self) -> dict[str, Any]:
        """The next ASGI `http.request` or `http.disconnect`."""


def parse_head(head: bytes) -> RawHead:
    """Method, target, version, headers and what is behind the head: the client's address.

    The ingress has checked that the head is well formed.
    """
    lines = head.split(b"\r\n")
    client = lines.pop()
    method, _, rest = lines[0].partition(b" ")
    target, _, version = rest.rpartition(b" ")
    headers = []
    for line in lines[1:]:
        if line:
            name, _, value = line.partition(b":")
            headers.append((name.lower(), value.strip(b" \t")))
    return method.decode("latin-1"), target, version[5:].decode("latin-1"), headers, client


def build_scope(
    head: bytes, kind: str, root_path: str, state: dict[str, Any] | None, *, secure: bool = False
) -> dict[str, Any]:
    """The ASGI scope of a request ("http") or of an upgrade ("websocket")."""
    method, target, version, headers, client = parse_head(head)
    raw_path, _, query = target.partition(b"?")
    if not raw_path.startswith(b"/") and b"://" in raw_path:  # absolute form, as to a forward proxy
        raw_path = b"/" + raw_path.partition(b"://")[2].partition(b"/")[2]
    path = unquote_to_bytes(raw_path) if b"%" in raw_path else raw_path
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": version,
        "scheme": ("http" if kind == "http" else "ws") + ("s" if secure else ""),
        "path": path.decode("utf-8", "replace"),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": root_path,
        "headers": headers,
        "client": _client(client),
        "server": _server(headers, secure=secure),
    }
    if kind == "http":
        scope["method"] = method
    if state is not None:
        scope["state"] = state.copy()
    return scope


def _client(address: bytes) -> tuple[str, int] | None:
    host, colon, port = address.decode().rpartition(":")
    return (host, int(port)) if colon else None


def _server(headers: list[tuple[bytes, bytes]], *, secure: bool) -> tuple[str, int | None] | None:
    for name, value in headers:
        if name == b"host":
            host, colon, port = value.decode("latin-1").rpartition(":")
            if colon and port.isdigit():
                return host, int(port)
            return value.decode("latin-1"), 443 if secure else 80
    return None


class LazyRequest(Request):
    """A Starlette request whose scope is made on first use."""

    _stream_consumed = False
    _is_disconnected = False
    _form = None
    _send = staticmethod(empty_send)

    def __init__(self, incoming: Incoming, head: bytes, body: bytes | memoryview | None) -> None:
        # Not Request.__init__: it wants the scope now.
        self._incoming = incoming
        self._head = head
        self._scope: dict[str, Any] | None = None
        self._whole = body  # None: it comes in pieces

    @property
    def scope(self) -> dict[str, Any]:  # type: ignore[override]
        scope = self._scope
        if scope is None:
            incoming = self._incoming
            scope = build_scope(
                self._head, "http", incoming.root_path, incoming.state, secure=incoming.secure
            )
            self._scope = scope
        return scope

    @property
    def _receive(self) -> Any:  # type: ignore[override]
        return self._incoming.next_body

    async def body(self) -> bytes:
        whole = self._whole
        if whole is None:
            return await super().body()
        if type(whole) is not bytes:
            # It lies in the door's memory, which the door has back before the answer.
            whole = self._whole = self._incoming.payload = bytes(whole)
        self._body = whole
        return whole

    async def buffer(self) -> memoryview:
        """The body without a copy: large ones lie in shared memory, as numpy can use it."""
        if self._whole is None:
            return memoryview(await super().body())
        self._incoming.payload = None  # whoever holds the buffer holds the memory
        return memoryview(self._whole)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        whole = self._whole
        if whole is None or hasattr(self, "_body"):
            async for piece in super().stream():
                yield piece
            return
        if self._stream_consumed:
            raise RuntimeError("Stream consumed")
        self._stream_consumed = True
        for start in range(0, len(whole), _PIECE):
            yield bytes(whole[start : start + _PIECE])
        yield b""

    async def is_disconnected(self) -> bool:
        return self._incoming.cancelled
