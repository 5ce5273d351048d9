"""Runs an exchange: reads, calls the user's method where it belongs, writes, and counts."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from contextvars import Context
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

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
    method, loop = exchange.model.method, call.caller.host.loop
    if exchange.events:
        call.task = loop.create_task(_stream(call, space, exchange), context=space)
    elif method.is_async or exchange.model.streams or call.upload is not None:
        call.task = loop.create_task(_on_loop(call, space, exchange), context=space)
    else:
        _in_thread(call, space, exchange)


# ---- on the loop


async def _on_loop(call: ServedCall, space: Context, exchange: Exchange) -> None:
    call.started = True
    if not call.begin():
        call.withdraw()
        return
    model = exchange.model
    with _Answering(call, exchange) as answering:
        if call.upload is not None:
            exchange.body = await _whole_body(call)
        given = exchange.arguments()
        read = perf_counter_ns()
        if len(given) == 1 and model.method.is_async and not model.streams:
            results = [await model.method.call(**given[0])]
        else:
            results = await _all(exchange, given, space)
        answering.send(results, read)


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
    with _Answering(call, exchange) as answering:
        answering.send([await one for one in waiting], answering.began)


# ---- as events


async def _stream(call: ServedCall, space: Context, exchange: Exchange) -> None:
    call.started = True
    if not call.begin():
        call.withdraw()
        return
    model = exchange.model
    with _Answering(call, exchange) as answering:
        if call.upload is not None:
            exchange.body = await _whole_body(call)
        given = exchange.arguments()
        read = perf_counter_ns()
        async with aclosing(model.items(given[0], space)) as items:
            await exchange.send_items(call, items)
        ended = perf_counter_ns()
        model.done(call.context.request_id, 1, 0, answering.began, read, ended, ended)


# ---- what all tasks share


class _Answering:
    """A call that a task answers: whatever it ends with, the client is told, and it is counted."""

    __slots__ = ("_call", "_exchange", "began")

    def __init__(self, call: ServedCall, exchange: Exchange) -> None:
        self._call = call
        self._exchange = exchange
        self.began = perf_counter_ns()

    def send(self, results: list[Any], read: int) -> None:
        """Answer with what the model returned; the arguments had been `read` by then."""
        call, exchange = self._call, self._exchange
        ran = perf_counter_ns()
        answer = exchange.answer(results)
        written, request_id = perf_counter_ns(), call.context.request_id
        exchange.model.done(request_id, len(results), 0, self.began, read, ran, written)
        exchange.send(call, answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        """User code raised: the client is told, the log has it."""
        if isinstance(error, asyncio.CancelledError):
            _interrupted(self._call, self._exchange)
        if error is None or isinstance(error, asyncio.CancelledError):
            return False
        self._exchange.model.counters.failure(perf_counter_ns() - self.began)
        self._exchange.fail(self._call, error)
        return True


def _interrupted(call: ServedCall, exchange: Exchange) -> None:
    """The task was cancelled: by the client that left, or by the user's own code."""
    if call.cancelled or call.ended:
        call.finish()
    else:
        exchange.fail(call, RequestCancelledError(call.context.request_id))
