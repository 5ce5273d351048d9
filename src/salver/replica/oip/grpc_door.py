"""Calls of the gRPC inference service that a replica answers. Needs the extra `grpc`."""

from __future__ import annotations

import logging
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from salver.calls.grpc_frames import join_tail, read_head, split
from salver.errors import NoMethodError
from salver.oip import proto
from salver.oip.bodies import read_body, write_body
from salver.oip.configuration import configuration
from salver.oip.metadata_messages import fill, write_model_metadata
from salver.oip.targets import target_of
from salver.oip.types import Buffer, InferRequest, InferResponse
from salver.replica.grpc.calls import refuse
from salver.replica.grpc.status import INTERNAL
from salver.replica.oip.faults import grpc_fault
from salver.replica.oip.headers import as_metadata, taken_from
from salver.replica.oip.model import Model, Models
from salver.replica.oip.serve import serve
from salver.wire.frames import END, GRPC, META, RES
from salver.wire.messages import CallTail

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = ("InferenceDoor",)

_logger: Final = logging.getLogger("salver")
_WANTS_FINAL: Final = "triton_enable_empty_final_response"
_FINAL: Final[dict[str, Any]] = {"triton_final_response": True}


class InferenceDoor:
    """Answers for the models of this replica."""

    def __init__(self, models: Models) -> None:
        self._models = models

    def __call__(self, call: ServedCall, path: str, space: Context) -> None:
        call.context.route = call.context.route or path
        try:
            head, message = split(call.payload)
            call.payload = None
            self._answer(call, path.rpartition("/")[2], head, message, space)
        except Exception as error:  # noqa: BLE001 - a strange message: whoever sent it is told
            space.run(_fail, call, error)

    def _answer(
        self,
        call: ServedCall,
        method: str,
        head: bytes,
        message: bytes | memoryview,
        space: Context,
    ) -> None:
        if method in ("ModelInfer", "ModelStreamInfer"):
            target = target_of(message)
            model = self._models.find(target.model, target.version)
            each = method == "ModelStreamInfer"
            serve(call, space, MessageExchange(model, head, message, each=each))
        elif method == "ModelMetadata":
            model = self._named(method, message)
            _send(call, write_model_metadata(model.described()))
        elif method == "ModelConfig":
            model = self._named(method, message)
            config = configuration(model.metadata, streams=model.streams)
            _send(call, fill(proto.message("ModelConfigResponse")(), {"config": config}))
        else:
            raise NoMethodError(f"No replica answers {method}.")

    def _named(self, method: str, message: bytes | memoryview) -> Model:
        asked = proto.parse(proto.message(f"{method}Request"), message)
        return self._models.find(asked.name, asked.version)


class MessageExchange:
    """One ModelInferRequest; answered in the form that it came in, raw or typed."""

    __slots__ = ("body", "events", "head", "metadata", "model", "request", "typed")

    request: InferRequest
    typed: bool

    def __init__(self, model: Model, head: bytes, body: bytes | memoryview, *, each: bool) -> None:
        """`each`: every item of the answer is a message."""
        self.model = model
        self.head = head
        self.metadata: tuple[tuple[str, Any], ...] = ()  # trailing
        self.body = body
        self.events = each

    def arguments(self) -> list[dict[str, Any]]:
        self.request, self.typed = read_body(self.body)
        self.body = b""  # what refers to it keeps it
        given = [self.model.arguments(self.request)]
        if self.model.requests:
            self.model.tell_headers(given, dict(read_head(self.head).metadata))
        return given

    def answer(self, results: list[Any]) -> tuple[bytes, list[Buffer]]:
        response = self.model.response(results[0], self.request)
        self.metadata = as_metadata(taken_from(response))
        return write_body(response, self.typed)

    def send(self, call: ServedCall, answer: tuple[bytes, list[Buffer]]) -> None:
        front, parts = answer
        flags = GRPC
        if self.metadata:
            flags |= META
            front = join_tail(CallTail(metadata=self.metadata)) + front
        call.end(RES, flags, front, [memoryview(part) for part in parts])

    async def send_items(self, call: ServedCall, items: Any) -> None:
        wants_final = self.request.parameters.get(_WANTS_FINAL) is True
        async for item in items:
            response = self.model.response(item, self.request)
            if wants_final and not self.model.streams:
                response.parameters = response.parameters | _FINAL
            await self._send_one(call, response)
        if wants_final and self.model.streams:
            await self._send_one(call, self._nothing())
        call.end(END, GRPC, b"")

    async def _send_one(self, call: ServedCall, response: InferResponse) -> None:
        front, parts = write_body(response, self.typed)
        if call.blocked:
            await call.room()
        call.chunk(front, [memoryview(part) for part in parts])

    def _nothing(self) -> InferResponse:
        """What Triton's clients take for the end of the answers to one request."""
        model = self.model
        return InferResponse([], model.name, model.version, self.request.id, dict(_FINAL))

    def fail(self, call: ServedCall, error: BaseException) -> None:
        _fail(call, error)


def _send(call: ServedCall, message: Any) -> None:
    call.end(RES, GRPC, message.SerializeToString())


def _fail(call: ServedCall, error: BaseException) -> None:
    """Answer with the status that the error stands for."""
    if isinstance(error, BaseExceptionGroup):  # of several calls the first tells enough
        error = error.exceptions[0]
    if call.cancelled or call.ended:
        call.finish()
        return
    code, details = grpc_fault(error)
    if code == INTERNAL:
        call.caller.host.errors += 1
        _logger.error("Uncaught exception:", exc_info=error)
    refuse(call, code, details)
