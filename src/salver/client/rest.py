"""A server that is asked by HTTP, or by shared memory where it is on this machine."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from salver.client.deadline import Deadline
from salver.client.errors import InputError, LinkError, NotFoundError, ServerError, error_for
from salver.client.http import Reply, Request
from salver.client.local import LocalInstance
from salver.client.pool import Pool, retried
from salver.client.rim import Rim
from salver.client.transport import sendable
from salver.oip.binary import HEADER, Pieces
from salver.oip.codecs.json import to_json
from salver.oip.errors import ProtocolError
from salver.oip.metadata import ModelIndexEntry, ModelMetadata, ServerMetadata
from salver.oip.rest import HttpBody, RestFormat, write_request
from salver.oip.types import InferRequest, InferResponse
from salver.spec.learnt import learnt

__all__ = ("RestTransport",)

T = TypeVar("T")
_ALIGN: Final = 64
_BINARY: Final = "binary_tensor_data"
_LENGTH: Final = HEADER.lower()
_OURS: Final = frozenset(
    ("host", "connection", "content-length", "transfer-encoding", "accept-encoding", _LENGTH)
)


class RestTransport:
    """The Open Inference Protocol over HTTP, binary where it is about tensors."""

    def __init__(
        self,
        rim: Rim,
        url: str,
        *,
        retries: int,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None,
        local: bool,
    ) -> None:
        found = urlsplit(url)
        secure = found.scheme == "https"
        self._rim = rim
        self._root = _written(found.path.rstrip("/"))
        self._retries = retries
        self._headers = _checked(headers)
        context = (tls or ssl.create_default_context()) if secure else None
        host = found.hostname or ""
        self._host = found.netloc.rpartition("@")[2]
        self._pool = Pool(rim, host, found.port or (443 if secure else 80), context)
        self._rest = RestFormat()
        self._looks = local and not secure
        self._binary_known: bool | None = None
        self._looked = 0
        self._finding = threading.Lock()
        self._local: LocalInstance | None = None

    # ---- about the server

    async def live(self, deadline: Deadline) -> bool:
        return (await self._exchange(self._get("/v2/health/live"), deadline)).status == 200

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        path = f"{_path(model, version)}/ready" if model else "/v2/health/ready"
        reply = await self._exchange(self._get(path), deadline)
        if model and reply.status == 404:
            raise error_for(reply.status, reply.body)
        return reply.status == 200

    async def server(self, deadline: Deadline) -> ServerMetadata:
        return await self._told("/v2", ServerMetadata, deadline)

    async def models(self, deadline: Deadline) -> list[ModelIndexEntry]:
        request = self._request("POST", "/v2/repository/index", (b"{}",), safe=True)
        reply = await self._exchange(request, deadline)
        return _read(reply, list[ModelIndexEntry])

    async def metadata(self, model: str, version: str, deadline: Deadline) -> ModelMetadata:
        return await self._told(_path(model, version), ModelMetadata, deadline)

    # ---- calls

    async def infer(self, request: InferRequest, deadline: Deadline) -> InferResponse:
        path = f"{_path(request.model_name, request.model_version)}/infer"
        if await self._speaks_binary(deadline):
            request.parameters = {"binary_data_output": True} | request.parameters
            body = write_request(request, lambda _: True)
        else:
            body = write_request(request)
        local = await self._find(deadline)
        reply = None
        if local is not None:
            reply = await self._by_memory(local, request, path, body, deadline)
        if reply is None:
            reply = await self._exchange(self._binary(path, body, self._root), deadline)
        return self._response(reply)

    async def _speaks_binary(self, deadline: Deadline) -> bool:
        """Whether the server has the extension; asked once."""
        if self._binary_known is None:
            try:
                self._binary_known = _BINARY in (await self.server(deadline)).extensions
            except (NotFoundError, ServerError):
                self._binary_known = False
        return self._binary_known

    async def stream(
        self, request: InferRequest, deadline: Deadline
    ) -> AsyncGenerator[InferResponse, None]:
        path = f"{_path(request.model_name, request.model_version)}/infer_stream"
        binary = await self._speaks_binary(deadline)
        body = write_request(request, lambda _: binary)
        incoming, pipe = await self._pool.open(self._binary(path, body, self._root), deadline)
        if incoming.status != 200:
            pieces = self._pool.pieces(incoming, pipe)
            raise error_for(incoming.status, b"".join([piece async for piece in pieces]))
        pieces = self._pool.pieces(incoming, pipe)
        try:
            async for data in _events(pieces):
                yield self._item(data)
        finally:
            await pieces.aclose()

    async def call(self, path: str, arguments: dict[str, Any], deadline: Deadline) -> Any:
        if not path.startswith("/"):
            raise ValueError(f"path={path!r} is not valid: expected one that begins with '/'.")
        try:
            text = to_json(arguments, computed=False)
        except ProtocolError as error:
            raise InputError(f"{path}: {error}") from None
        request = self._request("POST", _written(path), (text,))
        reply = await self._exchange(request, deadline)
        if not 200 <= reply.status < 300:
            raise error_for(reply.status, reply.body)
        if "json" in reply.headers.get("content-type", ""):
            return _read_json(reply, Any)
        return bytes(reply.body).decode(errors="replace")

    def close(self) -> None:
        local = self._end()
        if local is not None:
            local.close()

    async def aclose(self) -> None:
        local = self._end()
        if local is not None:
            await asyncio.to_thread(local.close)  # it waits for a thread to end

    def _end(self) -> LocalInstance | None:
        self._pool.close()
        self._looks = False
        local, self._local = self._local, None
        return local

    # ---- requests

    def _get(self, path: str) -> Request:
        return self._request("GET", path)

    def _request(
        self,
        method: str,
        path: str,
        parts: tuple[Any, ...] = (),
        *,
        root: str | None = None,
        header_length: int | None = None,
        safe: bool = False,
    ) -> Request:
        headers = [("host", self._host), *self._headers]
        if header_length is not None:
            headers += [("content-type", "application/octet-stream"), (HEADER, str(header_length))]
        elif parts:
            headers.append(("content-type", "application/json"))
        request = Request.of(method, (self._root if root is None else root) + path, headers, parts)
        return msgspec.structs.replace(request, safe=True) if safe else request

    def _binary(self, path: str, body: HttpBody, root: str) -> Request:
        if body.header_length is None:
            return self._request("POST", path, (body.text,), root=root)
        # Spaces, so that the tensors lie where they can be used.
        text = body.text + b" " * (-len(body.text) % _ALIGN)
        parts = (text, *body.blobs)
        return self._request("POST", path, parts, root=root, header_length=len(text))

    async def _exchange(self, request: Request, deadline: Deadline) -> Reply:
        return await retried(
            lambda: self._pool.exchange(request, deadline),
            self._rim,
            deadline,
            retries=self._retries,
            safe=request.safe,
        )

    # ---- by shared memory

    async def _find(self, deadline: Deadline) -> LocalInstance | None:
        """Looked for once after each new connection: the server may be another by then."""
        local, pool = self._local, self._pool
        if local is not None and not local.closed:
            return local
        if not self._looks or pool.connected == self._looked or pool.peer is None:
            return None
        if not self._finding.acquire(blocking=False):
            return None
        try:
            self._looked = pool.connected
            self._local = await LocalInstance.find(pool.peer, self._rim, deadline)
        finally:
            self._finding.release()
        return self._local

    async def _by_memory(
        self,
        local: LocalInstance,
        request: InferRequest,
        path: str,
        body: HttpBody,
        deadline: Deadline,
    ) -> Reply | None:
        route = local.route_of(request.model_name, request.model_version)
        if route is None:
            return None
        sent = self._binary(path, body, local.root_path)
        return await retried(
            lambda: local.exchange(sent, route, self._rim, deadline),
            self._rim,
            deadline,
            retries=self._retries,
            safe=False,
        )

    # ---- answers

    async def _told(self, path: str, kind: type[T], deadline: Deadline) -> T:
        return _read(await self._exchange(self._get(path), deadline), kind)

    def _response(self, reply: Reply) -> InferResponse:
        if reply.status != 200:
            raise error_for(reply.status, reply.body)
        length = reply.headers.get(_LENGTH)
        try:
            if length is None or len(reply.pieces) == 1:
                return self._rest.read_response(reply.body, length)
            first, *rest = reply.pieces
            size = int(length)
            return self._rest.read_response_parts(first[:size], Pieces((first[size:], *rest)))
        except (ProtocolError, ValueError) as error:
            raise LinkError(f"The answer cannot be read: {error}") from error

    def _item(self, data: bytes) -> InferResponse:
        try:
            failed = msgspec.json.decode(data, type=_Failed)
            if failed.error:
                raise ServerError(failed.error)
            return self._rest.read_response(data)
        except (ProtocolError, msgspec.DecodeError) as error:
            raise LinkError(f"An item of the stream cannot be read: {error}") from error


@learnt
class _Failed(msgspec.Struct):
    error: str = ""


def _path(model: str, version: str) -> str:
    path = f"/v2/models/{quote(model, safe='')}"
    return f"{path}/versions/{quote(version, safe='')}" if version else path


def _written(path: str) -> str:
    """A path, and a query, as they may stand in a request; what is encoded already stays so."""
    return quote(path, safe="/?&=%:@!$'()*+,;~")


def _checked(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    for name in headers:
        if name.lower() in _OURS:
            raise ValueError(f"Header {name!r} is the client's own and cannot be set.")
    return sendable(headers)


def _read(reply: Reply, kind: type[T]) -> T:
    if reply.status != 200:
        raise error_for(reply.status, reply.body)
    found: T = _read_json(reply, kind)
    return found


def _read_json(reply: Reply, kind: Any) -> Any:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LinkError(f"The answer cannot be read: {error}.") from error


async def _events(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The data of server-sent events."""
    rest = b""
    async for piece in pieces:
        rest += piece.replace(b"\r\n", b"\n")
        while b"\n\n" in rest:
            event, _, rest = rest.partition(b"\n\n")
            lines = [line[5:].lstrip(b" ") for line in event.split(b"\n") if line[:5] == b"data:"]
            if lines:
                yield b"\n".join(lines)
