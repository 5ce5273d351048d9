"""User code of every kind, called one way: `async def`, `def`, and generators of both."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from salver.errors import SalverError

if TYPE_CHECKING:
    from salver.replica.pool import Pool

__all__ = ("Method", "ThreadStream", "call_hook", "forsake", "method_names", "method_of")

_AHEAD: Final = 16  # items that a `def` generator may be ahead of whoever reads it


class Method:
    """A callable and what has to be known to call it."""

    __slots__ = ("call", "is_async", "is_generator", "name", "takes_request")

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name = name
        self.call = call
        code = _code_of(call)
        self.is_generator = inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code)
        self.is_async = inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code)
        self.takes_request = _takes_parameters(call)


def method_of(target: Any, name: str) -> Method | None:
    """The method of that name, if there is one. A function has one only: itself."""
    if inspect.isroutine(target) or isinstance(target, functools.partial):
        return Method(name, target) if name == "__call__" else None
    if name == "__call__" and not callable(target):
        return None
    if name.startswith("__") and name != "__call__":
        return None
    found = getattr(target, name, None)
    return Method(name, found) if callable(found) else None


def method_names(target: Any) -> list[str]:
    """What can be called on it, for people."""
    if inspect.isroutine(target):
        return ["__call__"]
    kind = type(target)
    names = [
        name for name in dir(kind) if not name.startswith("_") and callable(getattr(kind, name))
    ]
    return ["__call__", *names] if callable(target) else names


def _code_of(call: Callable[..., Any]) -> Any:
    while isinstance(call, functools.partial):
        call = call.func
    if inspect.isroutine(call) or inspect.isclass(call):
        return call
    return type(call).__call__


def _takes_parameters(call: Callable[..., Any]) -> bool:
    try:
        return bool(inspect.signature(call).parameters)
    except (TypeError, ValueError):  # some code in C does not say
        return True


async def call_hook(hook: Callable[..., Any], *args: Any) -> Any:
    """Call a hook of the user's class (`reconfigure`, `check_health`).

    A `def` one has a thread of its own: the pool may be full of calls.
    """
    try:
        if inspect.iscoroutinefunction(_code_of(hook)):
            return await hook(*args)
        result = await asyncio.to_thread(hook, *args)
        return await result if inspect.isawaitable(result) else result
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:  # it would end the loop, or whoever called
        raise SalverError(f"{type(error).__name__}: {error}") from error


def forsake(result: Any) -> None:
    """Nobody will await this: a coroutine does not begin, a response's call ends."""
    for name in ("cancel", "close"):
        end = getattr(result, name, None)
        if end is not None and hasattr(type(result), "__await__"):
            end()
            return


class ThreadStream(AsyncIterator[Any]):
    """What a `def` generator yields, pumped by a thread, a few items ahead."""

    def __init__(
        self,
        pool: Pool,
        context: Context,
        start: Callable[[], Iterator[Any]],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._start = start
        self._loop = loop
        self._items: deque[Any] = deque()
        self._free = threading.Semaphore(_AHEAD)
        self._closed = False
        self._done = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._waking = False
        self.finished: asyncio.Future[None] = loop.create_future()
        pool.submit(context, self._pump, self._pumped)

    def _pump(self) -> None:
        items = self._start()
        try:
            for item in items:
                self._free.acquire()
                if self._closed:
                    return
                self._items.append(item)
                if not self._waking:
                    self._waking = True
                    self._loop.call_soon_threadsafe(self._wake)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def _pumped(self, value: Any, error: BaseException | None) -> None:  # noqa: ARG002
        self._done = True
        self._error = error
        self.finished.set_result(None)
        self._wake()

    def _wake(self) -> None:
        self._waking = False
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def __anext__(self) -> Any:
        while not self._items:
            if self._done:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter
        self._free.release()
        return self._items.popleft()

    async def aclose(self) -> None:
        """Let the generator end at its next `yield`, and wait for it: its thread is in use."""
        self._closed = True
        self._free.release()
        await asyncio.shield(self.finished)
