"""The logic of a client, once: what it asks for, checks and makes of the answer."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import numpy as np

from salver.client.deadline import Deadline, check_timeout
from salver.client.errors import ClientError, InputError
from salver.client.rest import RestTransport
from salver.client.rim import Rim
from salver.client.transport import Transport
from salver.client.values import named, tensors_of, values_of
from salver.oip.metadata import ModelMetadata
from salver.oip.types import InferRequest, RequestedOutput

__all__ = ("Calling", "ClientOptions", "Wish")


class ClientOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a client calls."""

    timeout: float = 60.0
    retries: int = 2
    local: bool = True
    headers: Mapping[str, str] = {}
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        check_timeout(self.timeout)
        if not isinstance(self.retries, int) or self.retries < 0:
            raise ValueError(
                f"retries={self.retries!r} is not valid: expected a number of times, 0 or more."
            )


class Wish(msgspec.Struct, frozen=True, eq=False):
    """One call of a model, as the user wrote it."""

    model: str
    version: str
    args: Sequence[Any]
    inputs: Mapping[str, Any]
    outputs: Sequence[str] = ()
    parameters: Mapping[str, Any] = {}
    timeout: float | None = None
    id: str = ""


class Calling:
    """One server, and what is known of its models."""

    def __init__(
        self,
        url: str,
        rim: Rim,
        options: ClientOptions,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport = _transport(url, rim, options)
        self._timeout = options.timeout
        self._clock = clock
        self._known: dict[tuple[str, str], ModelMetadata] = {}
        self._closed = False

    def close(self) -> None:
        """End every connection; whoever calls from now on is told."""
        self._closed = True
        self.transport.close()

    async def aclose(self) -> None:
        """The same, on a loop."""
        self._closed = True
        await self.transport.aclose()

    def deadline(self, timeout: float | None = None) -> Deadline:
        """From now on: what every call begins with. ClientError: the client is closed."""
        if self._closed:
            raise ClientError("This client is closed: make another one.")
        return Deadline(self._timeout if timeout is None else timeout, self._clock)

    async def metadata(self, model: str, version: str, deadline: Deadline) -> ModelMetadata:
        """What the model takes and gives; asked for once."""
        found = self._known.get((model, version))
        return found or await self._learnt(model, version, deadline)

    async def _learnt(self, model: str, version: str, deadline: Deadline) -> ModelMetadata:
        found = await self.transport.metadata(model, version, deadline)
        self._known[model, version] = found
        return found

    async def infer(self, wish: Wish) -> Any:
        """The output of a call, or a dict of several."""
        deadline = self.deadline(wish.timeout)
        request, metadata = await self._request(wish, deadline)
        response = await self.transport.infer(request, deadline)
        return values_of(response, metadata, wish.outputs)

    async def stream(self, wish: Wish) -> AsyncGenerator[Any, None]:
        """The same of each item of a stream."""
        deadline = self.deadline(wish.timeout)
        request, metadata = await self._request(wish, deadline)
        responses = self.transport.stream(request, deadline)
        try:
            async for response in responses:
                yield values_of(response, metadata, wish.outputs)
        finally:
            await responses.aclose()

    async def _request(self, wish: Wish, deadline: Deadline) -> tuple[InferRequest, ModelMetadata]:
        key = wish.model, wish.version
        known = self._known.get(key)
        metadata = known or await self._learnt(*key, deadline)
        try:
            request = _request_of(wish, metadata)
        except InputError:
            if known is None:
                raise
            # The model may be another by now.
            metadata = await self._learnt(*key, deadline)
            request = _request_of(wish, metadata)
        return request, metadata


def _request_of(wish: Wish, metadata: ModelMetadata) -> InferRequest:
    given = named(metadata, wish.args, wish.inputs)
    if isinstance(wish.outputs, str):
        raise InputError(
            f"outputs={wish.outputs!r}: expected a list of names, as it may be several."
        )
    if not isinstance(wish.id, str):
        raise InputError(f"id={wish.id!r}: expected a str.")
    return InferRequest(
        tensors_of(metadata, given),
        [RequestedOutput(name) for name in wish.outputs],
        wish.model,
        wish.version,
        wish.id,
        _plain(wish.parameters) if wish.parameters else {},
    )


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """With numbers of NumPy as Python's, which both protocols can say."""
    try:
        found = msgspec.to_builtins(dict(parameters), enc_hook=_item)
    except (TypeError, ValueError) as error:
        raise InputError(f"parameters={parameters!r:.80} cannot be sent: {error}.") from None
    return dict(found)


def _item(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a value is a {type(value).__name__}, expected str, numbers or bool")


_RPC: Final = "salver.client.rpc"  # by name: it needs the extra `grpc`
_SCHEMES: Final = ("http", "https", "grpc", "grpcs")


def _transport(url: str, rim: Rim, options: ClientOptions) -> Transport:
    scheme = _scheme_of(url)
    kind: Any = RestTransport
    if scheme.startswith("grpc"):
        try:
            kind = import_module(_RPC).RpcTransport
        except ModuleNotFoundError as error:
            raise ClientError(
                f"A client of {url} needs {error.name}, which is not installed here: "
                "pip install 'salver[grpc]'."
            ) from None
    made: Transport = kind(
        rim,
        url,
        retries=options.retries,
        headers=options.headers,
        tls=options.tls,
        local=options.local,
    )
    return made


def _scheme_of(url: str) -> str:
    try:
        found = urlsplit(url)
        right = found.scheme in _SCHEMES and bool(found.hostname) and found.port != 0
    except (ValueError, AttributeError, TypeError):
        right = False
    if not right:
        known = ", ".join(f"{scheme}://host:port" for scheme in _SCHEMES)
        raise ValueError(f"url={url!r} is not valid: expected one of {known}.")
    return found.scheme
