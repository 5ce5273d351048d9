"""Runs an exchange: reads, calls the user's method where it belongs, writes, and counts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from contextvars import Context
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Protocol

from salver.errors import RequestCancelledError
from salver.replica.oip.model import Model

if TYPE_CHECKING:
    from salver.replica.calls import ServedCall

__all__ = ("Exchange", "serve")

_AT_A_TIME: Final = 64  # rows of one V1 request
_WITHDRAWN: Final = object()


class Exchange(Protocol):
    """One request in one protocol's form."""

    model: Model
    body: Any
    events: bool  # each item of the answer is sent on its own

    def arguments(self) -> list[dict[str, Any]]:
        """What the method is called with: once, or once for each row of a request."""

    def answer(self, results: list[Any]) -> Any:
        """What the calls returned, in the protocol's form."""

    def send(self, call: ServedCall, answer: Any) -> None:
        """End the call with that."""

    async def send_items(self, call: ServedCall, items: Any) -> None:
        """Answer with a stream, and end the call."""

    def fail(self, call: ServedCall, error: BaseException) -> None:
        """End the call with an error, unless it is over."""


class _Unfinished:
    """What a `def` method returned is a coroutine: the rest of it runs on the loop."""

    def __init__(self, result: Any) -> None:
        self.result = result


def serve(call: ServedCall, space: Context, exchange: Exchange) -> None:
    """Answer a call that has been let in."""
    method = exchange.model.method
    if exchange.events or method.is_async or exchange.model.streams or call.upload is not None:
        work = _on_loop(call, space, exchange)
        call.task = call.caller.host.loop.create_task(work, context=space)
    else:
        _in_thread(call, space, exchange)


# ---- on the loop


async def _on_loop(call: ServedCall, space: Context, exchange: Exchange) -> None:
    call.started = True
    if not call.begin():
        call.withdraw()
        return
    began = perf_counter_ns()
    model = exchange.model
    try:
        if call.upload is not None:
            exchange.body = await _whole_body(call)
        given = exchange.arguments()
        read = perf_counter_ns()
        if exchange.events:
            await _send_items(call, space, exchange, given[0])
            ended = perf_counter_ns()
            model.done(call.context.request_id, 1, 0, began, read, ended, ended)
            return
        if len(given) == 1 and model.method.is_async and not model.streams:
            results = [await model.method.call(**given[0])]
        else:
            results = await _all(exchange, given, space)
        _answer(call, exchange, results, began, read)
    except asyncio.CancelledError:
        _interrupted(call, exchange)
        raise
    except BaseException as error:  # noqa: BLE001 - user code: the client is told, the log has it
        _failed(call, exchange, error, began)


async def _send_items(
    call: ServedCall, space: Context, exchange: Exchange, given: dict[str, Any]
) -> None:
    async with aclosing(exchange.model.items(given, space)) as items:
        await exchange.send_items(call, items)


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


def _in_thread(call: ServedCall, space: Context, exchange: Exchange) -> None:
    began = perf_counter_ns()
    model = exchange.model
    handler = model.method.call

    def work() -> Any:
        waited = perf_counter_ns() - began
        if not call.begin():
            return _WITHDRAWN
        given = exchange.arguments()
        read = perf_counter_ns()
        results = [handler(**one) for one in given]
        if results and hasattr(type(results[0]), "__await__"):
            return _Unfinished(results)
        ran = perf_counter_ns()
        body = exchange.answer(results)
        written = perf_counter_ns()
        model.done(call.context.request_id, len(given), waited, began, read, ran, written)
        return body

    def done(value: Any, error: BaseException | None) -> None:
        if call.cancelled:
            call.finish()
        elif value is _WITHDRAWN:
            call.withdraw()
        elif error is not None:
            model.counters.failure(perf_counter_ns() - began)
            space.run(exchange.fail, call, error)  # so that the log knows the request
        elif type(value) is _Unfinished:
            work = _finish(call, exchange, value.result)
            call.task = call.caller.host.loop.create_task(work, context=space)
        else:
            exchange.send(call, value)

    call.caller.host.pool.submit(space, work, done)


async def _finish(call: ServedCall, exchange: Exchange, waiting: list[Any]) -> None:
    call.started = True
    began = perf_counter_ns()
    try:
        _answer(call, exchange, [await one for one in waiting], began, began)
    except asyncio.CancelledError:
        _interrupted(call, exchange)
        raise
    except BaseException as error:  # noqa: BLE001 - user code: the client is told, the log has it
        _failed(call, exchange, error, began)


# ---- how a task ends a call: whatever happens the client is told, and it is counted


def _answer(
    call: ServedCall, exchange: Exchange, results: list[Any], began: int, read: int
) -> None:
    ran = perf_counter_ns()
    answer = exchange.answer(results)
    written, request_id = perf_counter_ns(), call.context.request_id
    exchange.model.done(request_id, len(results), 0, began, read, ran, written)
    exchange.send(call, answer)


def _interrupted(call: ServedCall, exchange: Exchange) -> None:
    """The task was cancelled: by the client that left, or by the user's own code."""
    if call.cancelled or call.ended:
        call.finish()
    else:
        exchange.fail(call, RequestCancelledError(call.context.request_id))


def _failed(call: ServedCall, exchange: Exchange, error: BaseException, began: int) -> None:
    exchange.model.counters.failure(perf_counter_ns() - began)
    exchange.fail(call, error)
