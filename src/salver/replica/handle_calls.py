"""Calls that handles make: pickled arguments in, pickled results out, whole or item by item."""

from __future__ import annotations

import asyncio
import inspect
from contextvars import Context
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Final

from salver.calls.splice import decode_call
from salver.replica.invoke import Method, ThreadStream, forsake
from salver.wire.frames import END, LARGE, RES, STREAM
from salver.wire.payload import dumps

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall
    from salver.replica.host import Host

__all__ = ("items_of", "serve_call")

_GENERATORS: Final = frozenset((GeneratorType, AsyncGeneratorType))
_WITHDRAWN: Final = object()  # instead of a result: the caller has taken the call back


def serve_call(host: Host, call: ServedCall, method: Method, space: Context) -> None:
    """Run one call; it has a slot."""
    wants_stream = bool(call.flags & STREAM)
    if method.is_generator and not wants_stream:
        call.fail(
            TypeError(
                f"{method.name} of deployment {host.deployment} is a generator. Call it with "
                "`handle.options(stream=True)` and iterate over the response."
            )
        )
    elif wants_stream:
        call.task = host.loop.create_task(_stream(host, call, method, space), context=space)
    elif method.is_async:
        call.task = host.loop.create_task(_unary(host, call, method), context=space)
    else:
        _in_thread(host, call, method, space)


async def _unary(host: Host, call: ServedCall, method: Method) -> None:
    call.started = True
    if not call.begin():
        call.withdraw()
        return
    try:
        args, kwargs = decode_call(call.payload)
        call.payload = None
        result = await method.call(*args, **kwargs)
        if hasattr(type(result), "__await__"):
            result = await result
        answer(call, dump_result(host, method, result))
    except asyncio.CancelledError:
        call.interrupted()
        raise
    except BaseException as error:  # noqa: BLE001 - user code: whoever called is told
        call.fail(error)


def _in_thread(host: Host, call: ServedCall, method: Method, space: Context) -> None:
    try:
        args, kwargs = decode_call(call.payload)
    except Exception as error:  # noqa: BLE001 - the caller's classes: whoever called is told
        call.fail(error)
        return
    call.payload = None

    def work() -> Any:
        if not call.begin():
            return _WITHDRAWN
        result = method.call(*args, **kwargs)
        if hasattr(type(result), "__await__"):
            return result, None
        return None, dump_result(host, method, result)

    def done(value: Any, error: BaseException | None) -> None:
        if value is _WITHDRAWN:
            call.withdraw()
        elif error is not None:
            call.fail(error)
        elif value[1] is not None:
            answer(call, value[1])
        elif call.cancelled:
            forsake(value[0])
            call.finish()
        else:
            finish = Method(method.name, partial(_awaited, value[0]))
            call.task = host.loop.create_task(_finish(host, call, finish), context=space)

    host.pool.submit(space, work, done)


async def _awaited(result: Any) -> Any:
    return await result


async def _finish(host: Host, call: ServedCall, method: Method) -> None:
    """A `def` that returned a coroutine or a response: the rest of it runs on the loop."""
    call.started = True
    try:
        answer(call, dump_result(host, method, await method.call()))
    except asyncio.CancelledError:
        call.interrupted()
        raise
    except BaseException as error:  # noqa: BLE001 - user code: whoever called is told
        call.fail(error)


def dump_result(host: Host, method: Method, result: Any) -> tuple[bytes, list[memoryview]]:
    """A unary result as bytes."""
    if type(result) in _GENERATORS:
        raise TypeError(
            f"{method.name} of deployment {host.deployment} returned a generator. Call it with "
            "`handle.options(stream=True)` and iterate over the response."
        )
    try:
        return dumps(result)
    except Exception as error:
        error.add_note(
            f"{method.name} of deployment {host.deployment} returned {type(result).__name__}, "
            "which cannot be sent to another process, that of its caller."
        )
        raise


def answer(call: ServedCall, dumped: tuple[bytes, list[memoryview]]) -> None:
    """The whole answer."""
    data, buffers = dumped
    if buffers or len(data) >= LARGE:
        call.end(RES, 0, data, buffers, large=True)
    else:
        call.end(RES, 0, data)


async def _stream(host: Host, call: ServedCall, method: Method, space: Context) -> None:
    call.started = True
    if not call.begin():
        call.withdraw()
        return
    try:
        args, kwargs = decode_call(call.payload)
        call.payload = None
        items = await items_of(host, method, space, partial(method.call, *args, **kwargs))
        await _send_items(call, items)
        call.end(END, 0, b"")
    except asyncio.CancelledError:
        call.interrupted()
        raise
    except BaseException as error:  # noqa: BLE001 - user code: whoever called is told
        call.fail(error)


async def _send_items(call: ServedCall, items: Any) -> None:
    try:
        async for item in items:
            data, buffers = dumps(item)
            if call.blocked:
                await call.room()
            call.chunk(data, buffers)
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


async def items_of(host: Host, method: Method, space: Context, start: Any) -> Any:
    """What to iterate over: of generators of both kinds, and of functions that return one."""
    if method.is_generator:
        if method.is_async:
            return start()
        return ThreadStream(host.pool, space.copy(), start, host.loop)
    result = await start() if method.is_async else await host.pool.run(space.copy(), start)
    if hasattr(type(result), "__anext__"):
        return result
    if inspect.isgenerator(result):
        return ThreadStream(host.pool, space.copy(), lambda: result, host.loop)
    raise TypeError(
        f"{method.name} of deployment {host.deployment} was called with stream=True and returned "
        f"{type(result).__name__}. Make it a generator, or call it without stream=True."
    )
