"""`inference.GRPCInferenceService`: what the server knows is said here, the rest by replicas."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import msgspec

from salver.doors.grpc.door import GrpcDoor
from salver.doors.grpc.head import Handler
from salver.doors.grpc.inference_stream import InferStream
from salver.doors.inference import InferenceServer
from salver.oip import proto
from salver.oip.errors import ModelNotReadyError
from salver.oip.metadata_messages import fill, read_parameters, write_server_metadata
from salver.oip.repository import load_of, region_of
from salver.oip.settings_messages import (
    read_log_message,
    read_trace_message,
    write_log_message,
    write_trace_message,
)
from salver.oip.targets import Target, target_of

if TYPE_CHECKING:
    from salver.calls.router import Router
    from salver.doors.grpc.rpc import Rpc

__all__ = ("InferenceService",)

_BEFORE_MODELS: Final = ("ServerLive", "ServerReady", "ServerMetadata")
_BY_REPLICA: Final = ("ModelMetadata", "ModelConfig")


class InferenceService:
    """The methods of the service, by path."""

    def __init__(self, door: GrpcDoor, server: InferenceServer, dialect: str = "triton") -> None:
        self._door = door
        self._at = server
        self._plain = dialect == "mlserver"
        self._infer_path = _path("ModelInfer")
        self._stream_path = _path("ModelStreamInfer")
        self._streams: set[InferStream] = set()

    def close(self) -> None:
        """End the streams of clients that have nothing more to ask."""
        for stream in self._streams:
            stream.stop()

    def handlers(self) -> dict[str, Handler]:
        """By path, ready to be served."""
        own = [_path(name) for name in _OWN]
        own += [_path(name, proto.OLD_REPOSITORY) for name in proto.methods(proto.OLD_REPOSITORY)]
        handlers = {path: self._handler(path) for path in own}
        handlers |= {_path(name): self._passed(name) for name in _BY_REPLICA}
        handlers[self._infer_path] = Handler(self._infer)
        handlers[self._stream_path] = Handler(
            lambda rpc, _: rpc.run(self._stream(rpc)), takes_stream=True
        )
        return handlers

    # ---- inference

    def _infer(self, rpc: Rpc, data: bytes) -> None:
        self._door.unary(rpc, data, router_of=lambda: self._router(target_of(data)))

    async def _stream(self, rpc: Rpc) -> None:
        await self._door.routed()
        stream = InferStream(self._door, self._router, rpc, plain=self._plain)
        self._streams.add(stream)
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)

    def _router(self, target: Target) -> Router:
        """Who answers for that model. ModelNotFoundError, ModelNotReadyError."""
        model = self._at.models.find(target.model, target.version)
        if model.view.withheld:
            raise ModelNotReadyError(target.model, target.version)
        return model.router

    def _passed(self, name: str) -> Handler:
        kind = proto.message(f"{name}Request")

        def pass_on(rpc: Rpc, data: bytes) -> None:
            def router() -> Router:
                asked = proto.parse(kind, data)
                return self._router(Target(asked.name, asked.version))

            self._door.unary(rpc, data, router_of=router)

        return Handler(pass_on)

    # ---- what the server says itself

    def _handler(self, path: str) -> Handler:
        name = path.rpartition("/")[2]
        answer = getattr(self, f"_{_snake(name)}")
        kind = proto.message(f"{name}Request")

        def handle(rpc: Rpc, data: bytes) -> None:
            async def work() -> bytes:
                if name not in _BEFORE_MODELS:
                    await self._door.routed()
                result = answer(proto.parse(kind, data))
                message = await result if inspect.isawaitable(result) else result
                return message.SerializeToString()  # type: ignore[no-any-return]

            rpc.run(self._door.answer(rpc, work))

        return Handler(handle)

    def _server_live(self, _: Any) -> Any:
        return _response("ServerLive", live=True)

    def _server_ready(self, _: Any) -> Any:
        return _response("ServerReady", ready=self._door.apps is not None and self._at.ready())

    def _server_metadata(self, _: Any) -> Any:
        return write_server_metadata(self._at.metadata())

    def _model_ready(self, asked: Any) -> Any:
        return _response("ModelReady", ready=self._at.model_ready(asked.name, asked.version))

    async def _model_statistics(self, asked: Any) -> Any:
        told = await self._at.statistics(asked.name, asked.version)
        return fill(_response("ModelStatistics"), {"model_stats": told})

    def _repository_index(self, asked: Any) -> Any:
        entries = msgspec.to_builtins(self._at.index(asked.ready))
        return fill(_response("RepositoryIndex"), {"models": entries})

    async def _repository_model_load(self, asked: Any) -> Any:
        await self._at.load(asked.model_name, load_of(read_parameters(asked.parameters)))
        return _response("RepositoryModelLoad")

    async def _repository_model_unload(self, asked: Any) -> Any:
        dependents = asked.parameters["unload_dependents"].bool_param  # unset is False
        await self._at.unload(asked.model_name, dependents=dependents)
        return _response("RepositoryModelUnload")

    async def _trace_setting(self, asked: Any) -> Any:
        return write_trace_message(
            await self._at.trace(asked.model_name, read_trace_message(asked))
        )

    async def _log_settings(self, asked: Any) -> Any:
        return write_log_message(await self._at.log(read_log_message(asked)))

    async def _system_shared_memory_status(self, asked: Any) -> Any:
        regions = {one["name"]: one for one in await self._at.regions(asked.name)}
        return fill(_response("SystemSharedMemoryStatus"), {"regions": regions})

    async def _system_shared_memory_register(self, asked: Any) -> Any:
        region = region_of(asked.name, asked.key, asked.offset, asked.byte_size)
        await self._at.register(region)
        return _response("SystemSharedMemoryRegister")

    async def _system_shared_memory_unregister(self, asked: Any) -> Any:
        await self._at.unregister(asked.name)
        return _response("SystemSharedMemoryUnregister")

    def _cuda_shared_memory(self, _: Any) -> Any:
        raise self._at.no_gpu()

    _cuda_shared_memory_status = _cuda_shared_memory
    _cuda_shared_memory_register = _cuda_shared_memory
    _cuda_shared_memory_unregister = _cuda_shared_memory


_OWN: Final = tuple(
    name for name in proto.methods() if name not in ("ModelInfer", "ModelStreamInfer", *_BY_REPLICA)
)


def _path(name: str, service: str = proto.SERVICE) -> str:
    return f"/{service}/{name}"


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _response(name: str, **fields: Any) -> Any:
    return proto.message(f"{name}Response")(**fields)
