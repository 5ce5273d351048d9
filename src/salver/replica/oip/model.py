"""One endpoint of the living object as a model: neutral requests in, neutral responses out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from salver.core.versions import default_version
from salver.errors import SalverError
from salver.oip.binding import Binder
from salver.oip.classification import classified
from salver.oip.errors import MismatchError, ModelNotFoundError
from salver.oip.metadata import ModelMetadata
from salver.oip.signature import Signature
from salver.oip.types import InferRequest, InferResponse
from salver.replica.batching import Batched
from salver.replica.handle_calls import items_of
from salver.replica.invoke import Method, method_of
from salver.replica.oip.counters import Counters
from salver.replica.oip.regions import Regions
from salver.replica.oip.tracing import Tracer
from salver.spec.endpoint import EndpointOptions, EndpointSpec, options_of

if TYPE_CHECKING:
    from salver.replica.host import Host

__all__ = ("Model", "Models", "one_of")

_MANY: Final = (
    "the model answered with a stream, and this call takes one answer; "
    "use generate_stream (REST) or ModelStreamInfer (gRPC)"
)


class Model:
    """A method, what its signature says, and how often it was called."""

    def __init__(
        self,
        host: Host,
        spec: EndpointSpec,
        method: Method,
        options: EndpointOptions,
        versions: list[str],
        regions: Regions,
    ) -> None:
        self.host = host
        self.name = spec.model
        self.version = spec.version
        self.method = method
        function, tally = method.call, None
        if isinstance(method.call, Batched):
            shared, owner = method.call.args
            function, tally = shared.function, shared.tally_of(owner)
        self.options = options
        self.signature = Signature.of(function, batched=tally is not None)
        self.binder = Binder(self.signature)
        self.metadata = self.signature.metadata(self.name, versions, self.options.platform)
        self.counters = Counters(tally)
        self.regions = regions
        self._tracer = Tracer()
        self.streams = self.signature.streams or method.is_generator
        self.requests = self.signature.requests

    def described(self) -> ModelMetadata:
        """Its metadata, with the versions that other deployments have as well."""
        state = self.host.inference
        versions = state.versions.get(self.name) if state is not None else None
        if versions is None:
            return self.metadata
        return msgspec.structs.replace(self.metadata, versions=list(versions))

    # ---- the neutral form: every protocol ends here

    async def infer(self, request: InferRequest, space: Context) -> InferResponse:
        """The one answer to a request; `space` is the context of the user's code."""
        return self.response(await self.run(self.arguments(request), space), request)

    async def stream(
        self, request: InferRequest, space: Context
    ) -> AsyncGenerator[InferResponse, None]:
        """Every answer to a request."""
        async for item in self.items(self.arguments(request), space):
            yield self.response(item, request)

    def arguments(self, request: InferRequest) -> dict[str, Any]:
        """What the method is called with."""
        for tensor in request.inputs:
            if tensor.data is None:  # it lies elsewhere
                self.regions.read(request, self.host.inference)
                break
        return self.binder.bind(request)

    def tell_headers(self, given: list[dict[str, Any]], headers: Mapping[str, Any]) -> None:
        """Whoever takes the request itself finds its headers, or metadata, in the parameters."""
        for one in given:
            for name in self.requests:
                one[name].parameters["headers"] = headers

    def response(self, result: Any, request: InferRequest) -> InferResponse:
        """What the method's result is, or one item of it."""
        response = self.binder.pack(result, request)
        response.model_name = self.name
        response.model_version = self.version
        if request.outputs:
            self._as_asked(response, request)
        return response

    def _as_asked(self, response: InferResponse, request: InferRequest) -> None:
        for output in request.outputs:
            if "classification" in output.parameters:
                classified(response, request.outputs, self.options.labels)
            if "shared_memory_region" in output.parameters:
                self.regions.write(request, response, self.host.inference)

    def done(self, request_id: str, rows: int, waited: int, *times: int) -> None:
        """Count a call of so many rows: how long it had `waited` for a thread, when it began, was
        read, was answered by the model, and was written."""
        self.counters.success(rows, waited, *times)
        state = self.host.inference
        if state is not None:
            settings = state.trace_of(self.name)
            if "TIMESTAMPS" in settings["trace_level"]:
                self._tracer.call(settings, self.name, request_id, times)

    # ---- the user's code

    async def run(self, given: dict[str, Any], space: Context) -> Any:
        """The result of the method; of a stream, its only item."""
        method = self.method
        if self.streams:
            return await one_of(self.items(given, space))
        if method.is_async:
            return await method.call(**given)
        result = await self.host.pool.run(space.copy(), partial(method.call, **given))
        return await result if hasattr(type(result), "__await__") else result

    async def items(self, given: dict[str, Any], space: Context) -> AsyncGenerator[Any, None]:
        """The items of a stream; of a method that does not stream, its result."""
        if not self.streams:
            yield await self.run(given, space)
            return
        start = partial(self.method.call, **given)
        items = await items_of(self.host, self.method, space, start)
        try:
            async for item in items:
                yield item
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()


async def one_of(items: AsyncGenerator[Any, None]) -> Any:
    """The only item of a stream."""
    found: list[Any] = []
    try:
        async for item in items:
            if found:
                raise MismatchError(_MANY)
            found.append(item)
    finally:
        await items.aclose()
    if not found:
        raise MismatchError(
            "the model answered with an empty stream, and this call takes one answer"
        )
    return found[0]


def _options_of(target: Any, method: Method) -> EndpointOptions:
    """What the class says, as some decorators make another object for every instance."""
    declared = getattr(type(target), method.name, None)
    return options_of(declared) or options_of(method.call) or EndpointOptions()


class Models:
    """The models of one replica."""

    def __init__(self, host: Host, target: Any, specs: Sequence[EndpointSpec]) -> None:
        self._by_name: dict[str, dict[str, Model]] = {}
        self._by_method: dict[str, Model] = {}
        regions = Regions()
        for spec in specs:
            method = method_of(target, spec.method)
            if method is None:
                raise SalverError(
                    f"Endpoint {spec.method!r} of model {spec} is not there any more."
                )
            versions = sorted(s.version for s in specs if s.model == spec.model and s.version)
            model = Model(host, spec, method, _options_of(target, method), versions, regions)
            self._by_name.setdefault(spec.model, {})[spec.version] = model
            self._by_method[spec.method] = model
        self.main = self._by_method[specs[0].method]

    def find(self, name: str, version: str = "") -> Model:
        """The model of that name and version; ModelNotFoundError."""
        versions = self._by_name.get(name)
        if versions is None:
            raise ModelNotFoundError(name)
        found = versions.get(version or default_version(versions))
        if found is None:
            raise ModelNotFoundError(name, version)
        return found

    def of_method(self, method: str) -> Model | None:
        """The model that a method of the object is."""
        return self._by_method.get(method)

    def all(self) -> list[Model]:
        """Every one of them, in the order of the class."""
        return list(self._by_method.values())
