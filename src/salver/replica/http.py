"""HTTP calls to a deployment: from the raw head to the rendered reply."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response, StreamingResponse

from salver.errors import RequestCancelledError
from salver.replica.asgi import App, serve_asgi
from salver.replica.http_request import LazyRequest, build_scope
from salver.replica.invoke import Method, ThreadStream, forsake
from salver.replica.reply import (
    is_plain_response,
    is_plain_stream,
    render,
    reply_error,
    send_rendered,
    send_response,
    stream_of,
    stream_response,
    streams,
)
from salver.wire.frames import BODY, STREAM

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall
    from salver.replica.host import Host

__all__ = ("AsgiDoor", "MethodDoor")

# Loaded with the first WebSocket: most replicas see none.
_WEBSOCKET: Final = "salver.replica.websocket"
_UPGRADE = BODY | STREAM
_Work = Callable[[], Coroutine[Any, Any, None]]


class AsgiDoor:
    """HTTP calls of a deployment that is an ASGI app."""

    def __init__(self, host: Host, app: App) -> None:
        self._host = host
        self._app = app

    def __call__(self, call: ServedCall, space: Context) -> None:
        if call.flags & _UPGRADE == _UPGRADE:
            call.patient = True
            work: _Work = import_module(_WEBSOCKET).WebSocketSession(call, self._app).run
        else:
            work = partial(serve_asgi, call, self._app)
        call.task = self._host.loop.create_task(_guarded(call, work, fresh=True), context=space)


class MethodDoor:
    """HTTP calls of a deployment that is a function, or a class with `__call__`."""

    def __init__(self, host: Host, method: Method) -> None:
        self._host = host
        self._method = method

    def __call__(self, call: ServedCall, space: Context) -> None:
        method = self._method
        if call.flags & _UPGRADE == _UPGRADE:
            send_response(call, 426, [(b"connection", b"close")], b"No WebSocket is served here.")
        elif method.is_generator:
            call.task = self._host.loop.create_task(
                _guarded(call, partial(self._generate, call, space), fresh=True), context=space
            )
        elif method.is_async:
            call.task = self._host.loop.create_task(self._run(call), context=space)
        else:
            self._run_in_thread(call, space)

    def _arguments(self, call: ServedCall) -> tuple[Any, ...]:
        if not self._method.takes_request:
            return ()
        return (LazyRequest(call, call.head, None if call.upload is not None else call.payload),)

    async def _run(self, call: ServedCall) -> None:
        call.started = True
        if not call.begin():
            call.withdraw()
            return
        try:
            result = await self._method.call(*self._arguments(call))
            rendered = render(result)
            if rendered is not None:
                send_rendered(call, rendered)
            else:
                await self._respond(call, result)
        except asyncio.CancelledError:
            _interrupted(call)
            raise
        except BaseException as error:  # noqa: BLE001 - user code: the client is told, the log has it
            _failed(call, error)

    def _run_in_thread(self, call: ServedCall, space: Context) -> None:
        arguments = self._arguments(call)
        handler = self._method.call

        def work() -> Any:
            if not call.begin():
                return _WITHDRAWN
            result = handler(*arguments)
            rendered = render(result)
            return result if rendered is None else _Ready(rendered)

        def done(result: Any, error: BaseException | None) -> None:
            if call.cancelled:
                forsake(result)
                call.finish()
            elif result is _WITHDRAWN:
                call.withdraw()
            elif error is not None:
                space.run(_failed, call, error)  # so that the log knows the request
            elif type(result) is _Ready:
                send_rendered(call, result.rendered)
            else:
                call.task = self._host.loop.create_task(
                    _guarded(call, partial(self._respond, call, result)), context=space
                )

        self._host.pool.submit(space, work, done)

    async def _generate(self, call: ServedCall, space: Context) -> None:
        arguments = self._arguments(call)
        items = self._method.call(*arguments) if self._method.is_async else None
        if items is None:
            items = self._in_thread(space, lambda: self._method.call(*arguments))
        await _closing(items, stream_of(call, items))

    def _in_thread(self, space: Context, start: Callable[[], Any]) -> ThreadStream:
        # The task holds its own; a context can be entered by one thread at a time.
        return ThreadStream(self._host.pool, space.copy(), start, self._host.loop)

    async def _respond(self, call: ServedCall, result: Any) -> None:
        """Answer with what is not there as a whole."""
        if hasattr(type(result), "__await__"):
            result = await result
            rendered = render(result)
            if rendered is not None:
                send_rendered(call, rendered)
                return
        if streams(result):
            items = result
            if inspect.isgenerator(result):
                items = self._in_thread(copy_context(), lambda: result)
            await _closing(items, stream_of(call, items))
        elif not isinstance(result, Response):
            raise TypeError(f"{result!r} cannot be the result of an HTTP call.")
        elif is_plain_response(result):
            send_response(call, result.status_code, result.raw_headers, result.body)
            await _background(call, result)
        elif isinstance(result, StreamingResponse) and is_plain_stream(result):
            await _closing(result.body_iterator, stream_response(call, result))
            await _background(call, result)
        else:
            scope = build_scope(call.head, "http", call.root_path, call.state, secure=call.secure)
            await serve_asgi(call, result, scope)


_WITHDRAWN: Final = object()


class _Ready:
    """A result that was rendered in its thread."""

    __slots__ = ("rendered",)

    def __init__(self, rendered: Any) -> None:
        self.rendered = rendered


async def _background(call: ServedCall, response: Response) -> None:
    if response.background is not None:
        with call.caller.host.trailing():
            await response.background()


async def _closing(items: Any, work: Coroutine[Any, Any, None]) -> None:
    """Do the work; close the iterator however it ends."""
    try:
        await work
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


async def _guarded(call: ServedCall, work: _Work, *, fresh: bool = False) -> None:
    """Answer a call; `fresh`: none of the user's code has run for it yet.

    `work` is only called here: the task may be cancelled before its first step.
    """
    call.started = True
    if fresh and not call.begin():
        call.withdraw()
        return
    try:
        with call.caller.host.trailing():
            await work()
    except asyncio.CancelledError:
        _interrupted(call)
        raise
    except BaseException as error:  # noqa: BLE001 - user code: the client is told, the log has it
        _failed(call, error)
    finally:
        if call.cancelled:
            call.finish()


def _interrupted(call: ServedCall) -> None:
    """The task was cancelled: by the client that left, or by the user's own code."""
    if call.cancelled or call.ended:
        call.finish()
    else:
        _failed(call, RequestCancelledError(call.context.request_id))


def _failed(call: ServedCall, error: BaseException) -> None:
    if call.cancelled:
        call.finish()
    else:
        reply_error(call, error)
