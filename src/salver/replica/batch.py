"""A batch as it runs: its items, each with a caller who waits for a result or reads a stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextvars import ContextVar, copy_context
from typing import Any, Final

from salver.calls.context import CallContext, current_call
from salver.errors import twin_of

__all__ = ("Batch", "Feed", "Reply", "current_batch", "end", "fail", "give")

_AHEAD: Final = 1024  # items that a batch of streams may be ahead of its slowest reader
_ENDS: Final = (StopIteration, StopAsyncIteration)

# The calls that the batch which is running now works for, in its order; None: outside Salver.
current_batch: Final[ContextVar[tuple[CallContext | None, ...]]] = ContextVar(
    "salver_current_batch", default=()
)


class _Waiter:
    """One caller's item: from its call until it has an answer, or its caller is gone."""

    __slots__ = ("args", "batch", "call", "context", "group", "since")

    def __init__(self, args: tuple[Any, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.args = args
        self.since = loop.time()
        self.call = current_call.get()
        self.group = self.call.model_id if self.call is not None else ""
        self.context = copy_context()
        self.batch: Batch | None = None


class Reply(_Waiter):
    """Waits for one result, in a future that its caller has given."""

    __slots__ = ("future",)

    future: asyncio.Future[Any]

    @property
    def gone(self) -> bool:
        return self.future.cancelled()

    @property
    def ended(self) -> bool:
        return self.future.done()

    def give(self, result: Any) -> None:
        if self.future.done():
            return
        if isinstance(result, Exception):
            self.fail(twin_of(result))  # the same one may be in several places
        else:
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        if self.future.done():
            return
        if isinstance(error, asyncio.CancelledError):
            self.future.cancel()
        elif isinstance(error, StopIteration):  # a future cannot carry it
            self.future.set_exception(RuntimeError(f"the batched function gave {error!r}"))
        else:
            self.future.set_exception(error)

    def leave(self) -> None:
        """The caller was cancelled, and so was the future."""


class Feed(_Waiter):
    """Reads a stream, item by item."""

    __slots__ = ("_error", "_items", "_loop", "_waiter", "ended", "gone")

    def __init__(self, args: tuple[Any, ...], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(args, loop)
        self._loop = loop
        self._items: deque[Any] = deque()
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.ended = False
        self.gone = False

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> Any:
        while not self._items:
            if self.ended:
                error, self._error = self._error, None
                raise error or StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter
        item = self._items.popleft()
        if self.batch is not None:
            self.batch.go_on()
        return item

    @property
    def behind(self) -> bool:
        return len(self._items) >= _AHEAD

    def give(self, item: Any) -> None:
        if self.ended:
            return
        if item is StopIteration or item is StopAsyncIteration or isinstance(item, _ENDS):
            self.end()
        elif isinstance(item, Exception):
            self.fail(twin_of(item))
        else:
            self._items.append(item)
            self._wake()

    def fail(self, error: BaseException) -> None:
        if not self.ended:
            self._error = error
            self.end()

    def end(self) -> None:
        """No more comes."""
        self.ended = True
        self._wake()

    def leave(self) -> None:
        """The caller reads no further."""
        self.gone = self.ended = True
        self._items.clear()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Batch:
    """The items that run together."""

    __slots__ = ("began", "calls", "items", "resumed", "taken", "task")

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self.items: Sequence[Any] = ()
        self.taken = False
        self.began = 0.0
        self.calls: CallContext | None = None  # what the batch itself calls
        self.resumed: asyncio.Future[None] | None = None

    def enter(self) -> None:
        """Say to the code that runs from here on whom it works for."""
        calls = tuple(item.call for item in self.items)
        current_batch.set(calls)
        self.calls = calls[0].for_batch() if calls[0] is not None else None
        current_call.set(self.calls)

    def over(self) -> None:
        """What was held for the batch's own calls is let go; so are the items."""
        if self.calls is not None:
            self.calls.over()
        self.items = ()  # they know their batch: a circle that would outlive them

    def left(self) -> None:
        """A caller is gone; work that nobody waits for is stopped."""
        self.go_on()
        if self.deserted and not self.task.done():
            self.task.cancel()
            if self.calls is not None:
                self.calls.cancel_children()

    @property
    def deserted(self) -> bool:
        return all(item.ended for item in self.items) and any(item.gone for item in self.items)

    @property
    def far_ahead(self) -> bool:
        return any(item.behind for item in self.items)

    def go_on(self) -> None:
        """A reader has caught up, or is gone."""
        if self.resumed is not None and not self.resumed.done() and not self.far_ahead:
            self.resumed.set_result(None)


def give(items: Sequence[Any], results: Iterable[Any]) -> None:
    """To each its own."""
    for item, result in zip(items, results, strict=True):
        item.give(result)


def fail(items: Sequence[Any], error: BaseException) -> None:
    """The same error for everybody, each with a traceback of its own."""
    for count, item in enumerate(items):
        item.fail(twin_of(error) if count else error)


def end(items: Sequence[Feed]) -> None:
    """None of them gets more."""
    for item in items:
        item.end()
