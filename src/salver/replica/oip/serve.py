"""Runs an exchange: reads, calls the user's method where it belongs, writes, and counts."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from contextvars import Context
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final

from salver.errors import RequestCancelledError
from salver.oip.generate import event
from salver.replica.oip.coding import inflated
from salver.replica.oip.faults import body_of, fault
from salver.replica.oip.outgoing import send
from salver.replica.reply import send_response
from salver.replica.stream import ByteStream

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall
    from salver.replica.oip.asks import Ask
    from salver.replica.oip.exchanges import Exchange

__all__ = ("fail", "serve")

_logger: Final = logging.getLogger("salver")
_EVENTS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
)
_INFLATED_LIMIT: Final = 256 << 20
_AT_A_TIME: Final = 64  # rows of one V1 request
_WITHDRAWN: Final = object()


class _Unfinished:
    """What a `def` method returned is a coroutine: the rest of it runs on the loop."""

    def __init__(self, result: Any) -> None:
        self.result = result


def serve(call: ServedCall, space: Context, ask: Ask, exchange: Exchange) -> None:
    """Answer a call that has been let in."""
    method, loop = exchange.model.method, call.caller.host.loop
    if exchange.events:
        call.task = loop.create_task(_stream(call, space, ask, exchange), context=space)
    elif method.is_async or exchange.model.streams or call.upload is not None:
        call.task = loop.create_task(_on_loop(call, space, ask, exchange), context=space)
    else:
        _in_thread(call, space, ask, exchange)


# ---- on the loop


async def _on_loop(call: ServedCall, space: Context, ask: Ask, exchange: Exchange) -> None:
    began = perf_counter_ns()
    call.started = True
    if not call.begin():
        call.withdraw()
        return
    model = exchange.model
    try:
        if call.upload is not None:
            exchange.body = await _whole_body(call)
        given = _arguments(ask, exchange)
        read = perf_counter_ns()
        if len(given) == 1 and model.method.is_async and not model.streams:
            results = [await model.method.call(**given[0])]
        else:
            results = await _all(exchange, given, space)
        ran = perf_counter_ns()
        body = exchange.answer(results)
        model.done(call.context.request_id, began, read, ran, perf_counter_ns())
        send(call, ask.accepts, body)
    except asyncio.CancelledError:
        _interrupted(call)
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code: the client is told, the log has it
        model.counters.failure(perf_counter_ns() - began)
        fail(call, error)


def _arguments(ask: Ask, exchange: Exchange) -> list[dict[str, Any]]:
    if ask.coding:
        exchange.body = inflated(exchange.body, ask.coding, _INFLATED_LIMIT)
    return exchange.arguments()


async def _whole_body(call: ServedCall) -> bytes:
    """A body that comes in pieces. The door bounds it."""
    pieces = []
    upload = call.upload
    while upload is not None and (piece := await upload.read()):
        pieces.append(piece)
    return b"".join(pieces)


async def _all(exchange: Exchange, given: list[dict[str, Any]], space: Context) -> list[Any]:
    """The results of all calls, several at a time, so that batches can form."""
    model = exchange.model
    results: list[Any] = []
    for start in range(0, len(given), _AT_A_TIME):
        part = given[start : start + _AT_A_TIME]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(model.run(one, space)) for one in part]
        results += [task.result() for task in tasks]
    return results


# ---- in a thread


def _in_thread(call: ServedCall, space: Context, ask: Ask, exchange: Exchange) -> None:
    began = perf_counter_ns()
    model = exchange.model
    handler = model.method.call

    def work() -> Any:
        if not call.begin():
            return _WITHDRAWN
        given = _arguments(ask, exchange)
        read = perf_counter_ns()
        results = [handler(**one) for one in given]
        if results and hasattr(type(results[0]), "__await__"):
            return _Unfinished(results)
        ran = perf_counter_ns()
        body = exchange.answer(results)
        model.done(call.context.request_id, began, read, ran, perf_counter_ns())
        return body

    def done(value: Any, error: BaseException | None) -> None:
        if call.cancelled:
            call.finish()
        elif value is _WITHDRAWN:
            call.withdraw()
        elif error is not None:
            model.counters.failure(perf_counter_ns() - began)
            space.run(fail, call, error)  # so that the log knows the request
        elif type(value) is _Unfinished:
            work = _finish(call, ask, exchange, value.result)
            call.task = call.caller.host.loop.create_task(work, context=space)
        else:
            send(call, ask.accepts, value)

    call.caller.host.pool.submit(space, work, done)


async def _finish(call: ServedCall, ask: Ask, exchange: Exchange, waiting: list[Any]) -> None:
    call.started = True
    began = perf_counter_ns()
    try:
        results = [await one for one in waiting]
        ran = perf_counter_ns()
        body = exchange.answer(results)
        exchange.model.done(call.context.request_id, began, began, ran, perf_counter_ns())
        send(call, ask.accepts, body)
    except asyncio.CancelledError:
        _interrupted(call)
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code: the client is told, the log has it
        exchange.model.counters.failure(perf_counter_ns() - began)
        fail(call, error)


# ---- as events


async def _stream(call: ServedCall, space: Context, ask: Ask, exchange: Exchange) -> None:
    began = perf_counter_ns()
    call.started = True
    if not call.begin():
        call.withdraw()
        return
    model = exchange.model
    try:
        if call.upload is not None:
            exchange.body = await _whole_body(call)
        given = _arguments(ask, exchange)
        read = perf_counter_ns()
        async with aclosing(model.items(given[0], space)) as items:
            await _send_events(call, exchange, items)
        ended = perf_counter_ns()
        model.done(call.context.request_id, began, read, ended, ended)
    except asyncio.CancelledError:
        _interrupted(call)
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - user code: the client is told, the log has it
        model.counters.failure(perf_counter_ns() - began)
        fail(call, error)


async def _send_events(call: ServedCall, exchange: Exchange, items: Any) -> None:
    """The first item is awaited before the head leaves: an error before it has its own status."""
    first = await anext(items, _WITHDRAWN)
    data = b"" if first is _WITHDRAWN else event(exchange.item(first))
    stream = ByteStream(call, 200, _EVENTS)
    if stream.mute:
        stream.finish()
        return
    await stream.put(data)
    try:
        async for item in items:
            await stream.put(event(exchange.item(item)))
    except Exception as error:
        _logger.error("Uncaught exception, while a stream was sent:", exc_info=error)
        exchange.model.counters.failure(0)
        await stream.put(event(body_of(error)))
    stream.finish()


# ---- what goes wrong


def fail(call: ServedCall, error: BaseException) -> None:
    """Answer with the error, in the protocol's own body."""
    if isinstance(error, BaseExceptionGroup):  # of several rows the first tells enough
        error = error.exceptions[0]
    if call.cancelled or call.ended:
        call.finish()
        return
    status, headers, body = fault(error)
    if status >= 500 and status != 501:
        call.caller.host.errors += 1
        _logger.error("Uncaught exception:", exc_info=error)
    send_response(call, status, headers, body)


def _interrupted(call: ServedCall) -> None:
    """The task was cancelled: by the client that left, or by the user's own code."""
    if call.cancelled or call.ended:
        call.finish()
    else:
        fail(call, RequestCancelledError(call.context.request_id))
