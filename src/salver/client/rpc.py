"""A server that is asked by gRPC. Needs the extra `grpc`, so it is imported by name."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import grpc

from salver.client.deadline import Deadline
from salver.client.errors import (
    ClientError,
    DeadlineError,
    InputError,
    LinkError,
    NotFoundError,
    ServerError,
    UnavailableError,
)
from salver.client.pool import retried
from salver.client.rim import LoopRim, Rim
from salver.client.transport import sendable
from salver.oip import proto
from salver.oip.errors import ProtocolError
from salver.oip.messages import read_infer_response, write_infer_request
from salver.oip.metadata import ModelIndexEntry, ModelMetadata, ServerMetadata
from salver.oip.metadata_messages import read_model_metadata, read_server_metadata
from salver.oip.types import InferRequest, InferResponse

__all__ = ("RpcTransport",)

_OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
# Of a server that was never reached: gRPC says it in words only.
_NEVER_REACHED: Final = ("failed to connect", "dns resolution failed", "name resolution")
_OF_CODE: Final[dict[grpc.StatusCode, type[ClientError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InputError,
    grpc.StatusCode.FAILED_PRECONDITION: InputError,
    grpc.StatusCode.OUT_OF_RANGE: InputError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.UNIMPLEMENTED: NotFoundError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: UnavailableError,
    grpc.StatusCode.UNAVAILABLE: LinkError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
}


class RpcTransport:
    """`inference.GRPCInferenceService`, with raw contents."""

    def __init__(
        self,
        rim: Rim,
        url: str,
        *,
        retries: int,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None,
        local: bool,  # noqa: ARG002 - who asks for gRPC gets gRPC
    ) -> None:
        found = urlsplit(url)
        self._rim = rim
        self._retries = retries
        self._metadata = tuple((name.lower(), value) for name, value in sendable(headers))
        self._target = found.netloc.rpartition("@")[2]
        self._credentials = _credentials(tls) if found.scheme == "grpcs" else None
        if tls is not None and self._credentials is None:
            raise ValueError("tls= is for https and grpcs.")
        self._waits = isinstance(rim, LoopRim)
        self._made: Any = None
        self._lock = threading.Lock()

    # ---- about the server

    async def live(self, deadline: Deadline) -> bool:
        return bool((await self._ask("ServerLive", {}, deadline)).live)

    async def ready(self, model: str, version: str, deadline: Deadline) -> bool:
        if not model:
            return bool((await self._ask("ServerReady", {}, deadline)).ready)
        fields = {"name": model, "version": version}
        return bool((await self._ask("ModelReady", fields, deadline)).ready)

    async def server(self, deadline: Deadline) -> ServerMetadata:
        return read_server_metadata(await self._ask("ServerMetadata", {}, deadline))

    async def models(self, deadline: Deadline) -> list[ModelIndexEntry]:
        found = await self._ask("RepositoryIndex", {}, deadline)
        return [ModelIndexEntry(m.name, m.version, m.state, m.reason) for m in found.models]

    async def metadata(self, model: str, version: str, deadline: Deadline) -> ModelMetadata:
        fields = {"name": model, "version": version}
        return read_model_metadata(await self._ask("ModelMetadata", fields, deadline))

    # ---- calls

    async def infer(self, request: InferRequest, deadline: Deadline) -> InferResponse:
        return _read(await self._call("ModelInfer", _written(request), deadline))

    async def stream(
        self, request: InferRequest, deadline: Deadline
    ) -> AsyncGenerator[InferResponse, None]:
        begin = self._channel().stream_stream(*_method("ModelStreamInfer"))
        items = self._awaited if self._waits else self._blocked
        messages = items(begin, _written(request), deadline)
        try:
            async for item in messages:
                if item.error_message:
                    raise ServerError(item.error_message)
                yield _read(item.infer_response)
        except grpc.RpcError as error:
            raise _error_of(error, deadline) from None
        finally:
            await messages.aclose()

    async def _awaited(
        self, begin: Any, message: Any, deadline: Deadline
    ) -> AsyncGenerator[Any, None]:
        call = begin(metadata=self._metadata)
        try:
            await call.write(message)
            await call.done_writing()
            while True:
                async with asyncio.timeout(deadline.left()):
                    item = await call.read()
                if item is grpc.aio.EOF:
                    break
                yield item
                deadline.again()
            if await call.code() is not grpc.StatusCode.OK:
                raise _made_of(await call.code(), await call.details(), deadline)
        except TimeoutError as error:
            raise error if isinstance(error, ClientError) else deadline.passed() from None
        finally:
            call.cancel()

    async def _blocked(
        self, begin: Any, message: Any, deadline: Deadline
    ) -> AsyncGenerator[Any, None]:
        call = begin(iter((message,)), metadata=self._metadata)
        late = threading.Event()

        def give_up() -> None:
            late.set()
            call.cancel()

        try:
            while True:
                watch = threading.Timer(deadline.left(), give_up)
                watch.daemon = True
                watch.start()
                try:
                    item = next(call, None)
                finally:
                    watch.cancel()
                    watch.join()
                if item is None:
                    return
                yield item
                deadline.again()
        except grpc.RpcError:
            if late.is_set():
                raise deadline.passed() from None
            raise
        finally:
            call.cancel()

    async def call(self, path: str, arguments: dict[str, Any], deadline: Deadline) -> Any:  # noqa: ARG002
        raise InputError(
            f"{path} as plain JSON is a call by HTTP: make a client of the server's http address."
        )

    def close(self) -> None:
        channel, self._made = self._made, None
        if channel is not None and not self._waits:
            channel.close()

    async def aclose(self) -> None:
        """The same, for a loop."""
        channel = self._made
        self.close()
        if channel is not None and self._waits:
            await channel.close()

    # ---- by the wire

    async def _ask(self, name: str, fields: dict[str, str], deadline: Deadline) -> Any:
        return await self._call(name, proto.message(f"{name}Request")(**fields), deadline)

    async def _call(self, name: str, message: Any, deadline: Deadline) -> Any:
        begin = self._channel().unary_unary(*_method(name))

        async def once() -> Any:
            try:
                call = begin(message, timeout=deadline.left(), metadata=self._metadata)
                return await call if self._waits else call
            except grpc.RpcError as error:
                raise _error_of(error, deadline) from None

        return await retried(once, self._rim, deadline, retries=self._retries, safe=False)

    def _channel(self) -> Any:
        """Made on first use: that of a loop belongs to the loop."""
        with self._lock:
            if self._made is None:
                kind = grpc.aio if self._waits else grpc
                proof = self._credentials
                if proof is not None:
                    self._made = kind.secure_channel(self._target, proof, options=_OPTIONS)
                else:
                    self._made = kind.insecure_channel(self._target, options=_OPTIONS)
            return self._made


def _credentials(tls: ssl.SSLContext | None) -> Any:
    """What gRPC can take of a context: the authorities that it believes."""
    if tls is None:
        return grpc.ssl_channel_credentials()
    if tls.verify_mode is not ssl.CERT_REQUIRED or not tls.check_hostname:
        raise ValueError("tls= cannot be so for grpcs: gRPC always checks who the server is.")
    found = tls.get_ca_certs(binary_form=True)
    roots = "".join(map(ssl.DER_cert_to_PEM_cert, found))
    return grpc.ssl_channel_credentials(roots.encode() or None)


def _method(name: str) -> tuple[str, Any, Any]:
    """Path, and how messages are written and read."""
    kinds = proto.methods()[name]
    request = proto.message(kinds.input_type.name)
    response = proto.message(kinds.output_type.name)
    return f"/{proto.SERVICE}/{name}", request.SerializeToString, response.FromString


def _written(request: InferRequest) -> Any:
    return write_infer_request(request)


def _read(message: Any) -> InferResponse:
    try:
        return read_infer_response(message)
    except ProtocolError as error:
        raise LinkError(f"The answer cannot be read: {error}") from error


def _error_of(error: Any, deadline: Deadline) -> ClientError:
    return _made_of(error.code(), error.details(), deadline)


def _made_of(code: grpc.StatusCode, details: str | None, deadline: Deadline) -> ClientError:
    """The error of a status. One that tells nothing of the call counts as if it had begun."""
    said = details or f"The server answered {code.name}."
    if code is grpc.StatusCode.UNAVAILABLE and said.lower().startswith(_NEVER_REACHED):
        return UnavailableError(f"The server cannot be reached: {said}.")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and said == "Deadline Exceeded":
        return deadline.passed()
    return _OF_CODE.get(code, ServerError)(said, code.value[0])
