"""gRPC calls to a deployment: messages in, messages out, and how it went."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from salver.calls.grpc_frames import join_tail, split
from salver.errors import NoMethodError, SalverError
from salver.oip.errors import MalformedBodyError
from salver.replica.grpc.context import RayServegRPCContext, gRPCInputStream
from salver.replica.grpc.services import RpcMethod
from salver.replica.grpc.status import CANCELLED, INTERNAL, UNIMPLEMENTED, status_of
from salver.replica.grpc.status import cut as shown
from salver.replica.handle_calls import items_of
from salver.replica.invoke import Method
from salver.replica.upload import MessageInbox
from salver.wire.frames import END, GRPC, LARGE, META, RES, STREAM
from salver.wire.messages import CallTail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salver.replica.calls import ServedCall
    from salver.replica.host import Host

__all__ = ("MessageDoor", "refuse")

_logger: Final = logging.getLogger("salver")
_WITHDRAWN: Final = object()
_INFERENCE: Final = "/inference.GRPCInferenceService/"
_MODELS: Final = "salver.replica.oip.grpc_door"


@dataclass(frozen=True, slots=True)
class _Served:
    """A method of a service and the method of the deployment that answers it."""

    rpc: RpcMethod
    method: Method
    takes_context: bool


class _Request:
    """One call, from its first bytes to its end."""

    __slots__ = ("_message", "call", "context", "method", "rpc")

    def __init__(self, call: ServedCall, served: _Served) -> None:
        head, message = split(call.payload)
        call.payload = None
        self.call = call
        self.rpc = served.rpc
        self.method = served.method
        self.context: RayServegRPCContext | None = None
        if served.takes_context:
            self.context = RayServegRPCContext(call.context, head)
        self._message: Any = message
        if served.rpc.takes_stream:
            inbox = MessageInbox(call)
            call.upload = inbox
            self._message = gRPCInputStream(inbox, served.rpc.decode)

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the user's method is called with; gRPCStatusError: the message cannot be read."""
        message, self._message = self._message, None
        if not self.rpc.takes_stream:
            try:
                message = self.rpc.decode(message)
            except Exception as error:  # noqa: BLE001 - what reads messages may raise anything
                text = f"The request of {self.rpc.path} cannot be read: {error}"
                raise MalformedBodyError(text) from None
        return (message,), {} if self.context is None else {"grpc_context": self.context}

    def start(self) -> Any:
        """Call the user's method."""
        args, kwargs = self.arguments()
        return self.method.call(*args, **kwargs)

    def encode(self, result: Any) -> bytes:
        """A message as bytes."""
        try:
            return self.rpc.encode(result)
        except TypeError:
            raise TypeError(
                f"{self.method.name} gave {type(result).__name__} ({result!r:.80}), which is no "
                f"message that {self.rpc.path} can answer with."
            ) from None

    # ---- the end

    def answer(self, data: bytes) -> None:
        """The whole answer."""
        tail = self._tail()
        flags, front = (GRPC, b"") if tail is None else (GRPC | META, join_tail(tail))
        if len(data) >= LARGE:
            self.call.end(RES, flags, front, (memoryview(data),))
        else:
            self.call.end(RES, flags, front + data)

    def begin_answers(self) -> None:
        """Before the first message of a stream: what the client must know of all of them."""
        if self.context is not None and self.context.compression is not None:
            head = join_tail(CallTail(compression=self.context.compression))
            conn, call_id = self.call.caller.conn, self.call.call_id
            conn.send(RES, GRPC | META | STREAM, 0, call_id, head)

    def complete(self) -> None:
        """The stream of answers is over."""
        tail = self._tail()
        if tail is None:
            self.call.end(END, GRPC, b"")
        else:
            self.call.end(RES, GRPC | META, join_tail(tail))

    def _tail(self) -> CallTail | None:
        """What user code has set; None: nothing."""
        tail = self.context.tail() if self.context is not None else None
        if tail is not None:
            self.call.status = tail.code
        return tail

    def fail(self, error: BaseException) -> None:
        """Answer with the status that the error stands for, or that the user's code has set."""
        call, context = self.call, self.context
        if call.cancelled:
            call.finish()
            return
        call.caller.host.errors += 1
        code, details = status_of(error)
        metadata: Any = ()
        if context is not None:
            metadata = context.trailing_metadata()
            if context.failed:
                code = context.code().value[0]  # type: ignore[union-attr]
                details = context.details() or details
            elif context.details() and not isinstance(error, SalverError):
                details = context.details() or details
        if code == INTERNAL:
            _logger.error("Uncaught exception in %s:", self.rpc.path, exc_info=error)
        call.status = code
        call.end(RES, GRPC | META, join_tail(CallTail(code, shown(details), metadata)))

    def interrupted(self) -> None:
        """Its task was cancelled: by the client that left, or by the user's own code."""
        if self.call.cancelled:
            self.call.finish()
        else:
            refuse(self.call, CANCELLED, "The method was cancelled.")


class MessageDoor:
    """gRPC calls of one deployment; `rpcs` are the methods that clients may call, by path."""

    def __init__(self, host: Host) -> None:
        self.rpcs: Mapping[str, RpcMethod] = {}
        self._host = host
        self._known: dict[str, _Served] = {}
        self._models: Callable[[ServedCall, str, Context], None] | None = None

    def __call__(self, call: ServedCall, path: str, space: Context) -> None:
        """Run a call that has been let in."""
        call.context.route = call.context.route or path
        served = self._known.get(path)
        if served is None:
            if path.startswith(_INFERENCE) and path not in self.rpcs:
                self._answer_for_models(call, path, space)
                return
            try:
                served = self._known[path] = self._find(path)
            except Exception as error:  # noqa: BLE001 - a property of the user's: the client is told
                refuse(call, *status_of(error))
                return
        request = _Request(call, served)
        if served.rpc.gives_stream:
            work = self._stream(request, space)
        elif served.method.is_async:
            work = self._unary(request)
        else:
            self._in_thread(request, space)
            return
        call.task = self._host.loop.create_task(work, context=space)

    def serve_models(self) -> None:
        """Answer the Open Inference Protocol, if there are endpoints. By name: it needs numpy."""
        models = self._host.object.endpoints
        if models is not None:
            self._models = import_module(_MODELS).InferenceDoor(models)

    def _answer_for_models(self, call: ServedCall, path: str, space: Context) -> None:
        if self._models is None:
            refuse(call, UNIMPLEMENTED, f"No deployment here answers {path}.")
        else:
            self._models(call, path, space)

    def _find(self, path: str) -> _Served:
        rpc = self.rpcs.get(path)
        if rpc is None:
            raise NoMethodError(f"No service of this instance has {path}.")
        method = self._host.object.method(rpc.name)
        return _Served(rpc, method, "grpc_context" in inspect.signature(method.call).parameters)

    async def _unary(self, request: _Request) -> None:
        call = request.call
        call.started = True
        if not call.begin():
            call.withdraw()
            return
        try:
            args, kwargs = request.arguments()
            result = await request.method.call(*args, **kwargs)
            if hasattr(type(result), "__await__"):
                result = await result
            request.answer(request.encode(result))
        except asyncio.CancelledError:
            request.interrupted()
            raise
        except BaseException as error:  # noqa: BLE001 - user code: the client is told
            request.fail(error)

    def _in_thread(self, request: _Request, space: Context) -> None:
        call = request.call

        def work() -> Any:
            if not call.begin():
                return _WITHDRAWN
            result = request.start()
            return result if hasattr(type(result), "__await__") else request.encode(result)

        def done(result: Any, error: BaseException | None) -> None:
            if call.cancelled:
                call.finish()
            elif result is _WITHDRAWN:
                call.withdraw()
            elif error is not None:
                space.run(request.fail, error)  # so that the log knows the request
            elif isinstance(result, bytes):
                request.answer(result)
            else:
                call.task = self._host.loop.create_task(_finish(request, result), context=space)

        self._host.pool.submit(space, work, done)

    async def _stream(self, request: _Request, space: Context) -> None:
        call = request.call
        call.started = True
        if not call.begin():
            call.withdraw()
            return
        try:
            start = partial(request.method.call, *(given := request.arguments())[0], **given[1])
            await _send(request, await items_of(self._host, request.method, space, start))
            request.complete()
        except asyncio.CancelledError:
            request.interrupted()
            raise
        except BaseException as error:  # noqa: BLE001 - user code: the client is told
            request.fail(error)


async def _finish(request: _Request, result: Any) -> None:
    """A `def` that returned a coroutine or a response: the rest of it runs on the loop."""
    request.call.started = True
    try:
        request.answer(request.encode(await result))
    except asyncio.CancelledError:
        request.interrupted()
        raise
    except BaseException as error:  # noqa: BLE001 - user code: the client is told
        request.fail(error)


async def _send(request: _Request, items: Any) -> None:
    """Every message of a stream, as the client takes them."""
    call = request.call
    begun = False
    try:
        async for item in items:
            data = request.encode(item)
            if not begun:
                begun = True
                request.begin_answers()
            if call.blocked:
                await call.room()
            if len(data) >= LARGE:
                call.chunk(b"", (memoryview(data),))
            else:
                call.chunk(data, ())
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def refuse(call: ServedCall, code: int, details: str) -> None:
    """Answer with this status."""
    call.status = code
    call.end(RES, GRPC | META, join_tail(CallTail(code, shown(details))))
