"""The clients that users make, blocking and asynchronous: two faces of one thing."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from salver.client.calling import Calling, ClientOptions, Wish
from salver.client.deadline import check_timeout
from salver.client.rim import BlockingRim, LoopRim, Rim, iterate_now, run_now
from salver.oip.metadata import ModelIndexEntry, ModelMetadata, ServerMetadata

__all__ = ("AsyncClient", "AsyncModel", "Client", "Model")


class _Server:
    """What the clients have in common: where they call, and how."""

    _rim: ClassVar[type[Rim]]

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 60.0,
        retries: int = 2,
        local: bool = True,
        headers: Mapping[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        options = ClientOptions(
            timeout=timeout, retries=retries, local=local, headers=headers or {}, tls=tls
        )
        self.url = url
        self._calling = Calling(url, self._rim(), options)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.url}>"


class _Named:
    """What the models have in common: which one of a server they are, and how it is asked."""

    def __init__(
        self, calling: Calling, name: str, version: str | int | None, timeout: float | None
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"The name {name!r} of a model is not valid: expected text.")
        self.name = name
        self.version = "" if version is None else str(version)
        self._calling = calling
        self._timeout = None if timeout is None else check_timeout(timeout)

    def _wish(
        self,
        args: Sequence[Any],
        inputs: Mapping[str, Any],
        *,
        timeout: float | None = None,
        **more: Any,
    ) -> Wish:
        timeout = self._timeout if timeout is None else timeout
        return Wish(self.name, self.version, args, inputs, timeout=timeout, **more)

    async def _described(self) -> ModelMetadata:
        deadline = self._calling.deadline(self._timeout)
        return await self._calling.metadata(self.name, self.version, deadline)

    async def _can_be_called(self) -> bool:
        deadline = self._calling.deadline(self._timeout)
        return await self._calling.transport.ready(self.name, self.version, deadline)

    def __repr__(self) -> str:
        version = f" version {self.version}" if self.version else ""
        return f"<{type(self).__name__} {self.name}{version}>"


class Client(_Server):
    """Calls models and plain endpoints of one server. Threads may share it.

    Args:
        url: `http://host:port` or `https://...`, with the server's root path if it has one;
            `grpc://host:port` or `grpcs://...` for gRPC.
        timeout: seconds that a call may take, unless the call says otherwise. For a stream: until
            it begins, and from item to item.
        retries: how often a call is tried again that has surely not begun.
        local: whether to call by shared memory where the server is an instance of Salver that this
            user runs on this machine.
        headers: sent with every request.
        tls: for `https`; without it, the system's authorities are believed. For `grpcs` only its
            authorities count (`cafile`), and without it gRPC's own are believed.
    """

    _rim = BlockingRim

    def model(
        self, name: str, version: str | int | None = None, *, timeout: float | None = None
    ) -> Model:
        """A model to call, with a limit of its own if one is given. Nothing is sent yet."""
        return Model(self._calling, name, version, timeout)

    def call(self, path: str, /, *, timeout: float | None = None, **arguments: Any) -> Any:
        """What an endpoint answers to these arguments as plain JSON."""
        deadline = self._calling.deadline(timeout)
        return run_now(self._calling.transport.call(path, arguments, deadline))

    def models(self) -> list[ModelIndexEntry]:
        """Every model of the server, and its state."""
        return run_now(self._calling.transport.models(self._calling.deadline()))

    def metadata(self) -> ServerMetadata:
        """What the server says of itself."""
        return run_now(self._calling.transport.server(self._calling.deadline()))

    def live(self) -> bool:
        """Whether the server runs."""
        return run_now(self._calling.transport.live(self._calling.deadline()))

    def ready(self) -> bool:
        """Whether every model of it can be called."""
        return run_now(self._calling.transport.ready("", "", self._calling.deadline()))

    def close(self) -> None:
        """Close every connection."""
        self._calling.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Model(_Named):
    """One model. `model(array)`, `model(name=array)`: the output, or a dict of several."""

    def __call__(self, /, *args: Any, **inputs: Any) -> Any:
        """Call it. InputError, before anything is sent: it takes something else."""
        return run_now(self._calling.infer(self._wish(args, inputs)))

    def infer(
        self,
        inputs: Mapping[str, Any],
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        id: str = "",  # noqa: A002 - the protocol's word
    ) -> Any:
        """Call it, with all that the protocol knows beside inputs."""
        more = {"outputs": outputs, "parameters": parameters or {}, "id": id}
        return run_now(self._calling.infer(self._wish((), inputs, timeout=timeout, **more)))

    def stream(self, /, *args: Any, **inputs: Any) -> Iterator[Any]:
        """The items of a model that answers with a stream."""
        return iterate_now(self._calling.stream(self._wish(args, inputs)))

    def metadata(self) -> ModelMetadata:
        """What it takes and gives."""
        return run_now(self._described())

    def ready(self) -> bool:
        """Whether it can be called."""
        return run_now(self._can_be_called())


class AsyncClient(_Server):
    """The same as `Client`, for one event loop: what asks the server is awaited."""

    _rim = LoopRim

    def model(
        self, name: str, version: str | int | None = None, *, timeout: float | None = None
    ) -> AsyncModel:
        """A model to call, with a limit of its own if one is given. Nothing is sent yet."""
        return AsyncModel(self._calling, name, version, timeout)

    async def call(
        self,
        path: str,
        /,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - it goes on to the transport
        **arguments: Any,
    ) -> Any:
        """What an endpoint answers to these arguments as plain JSON."""
        deadline = self._calling.deadline(timeout)
        return await self._calling.transport.call(path, arguments, deadline)

    async def models(self) -> list[ModelIndexEntry]:
        """Every model of the server, and its state."""
        return await self._calling.transport.models(self._calling.deadline())

    async def metadata(self) -> ServerMetadata:
        """What the server says of itself."""
        return await self._calling.transport.server(self._calling.deadline())

    async def live(self) -> bool:
        """Whether the server runs."""
        return await self._calling.transport.live(self._calling.deadline())

    async def ready(self) -> bool:
        """Whether every model of it can be called."""
        return await self._calling.transport.ready("", "", self._calling.deadline())

    async def close(self) -> None:
        """Close every connection."""
        await self._calling.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncModel(_Named):
    """One model. `await model(array)`: the output, or a dict of several."""

    async def __call__(self, /, *args: Any, **inputs: Any) -> Any:
        """Call it. InputError, before anything is sent: it takes something else."""
        return await self._calling.infer(self._wish(args, inputs))

    async def infer(
        self,
        inputs: Mapping[str, Any],
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
        id: str = "",  # noqa: A002 - the protocol's word
    ) -> Any:
        """Call it, with all that the protocol knows beside inputs."""
        more = {"outputs": outputs, "parameters": parameters or {}, "id": id}
        return await self._calling.infer(self._wish((), inputs, timeout=timeout, **more))

    def stream(self, /, *args: Any, **inputs: Any) -> AsyncGenerator[Any, None]:
        """The items of a model that answers with a stream: `async for item in ...`."""
        return self._calling.stream(self._wish(args, inputs))

    async def metadata(self) -> ModelMetadata:
        """What it takes and gives."""
        return await self._described()

    async def ready(self) -> bool:
        """Whether it can be called."""
        return await self._can_be_called()
