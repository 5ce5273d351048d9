"""Runs batches: collects single calls on one event loop, scatters what a batch gives to them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from contextlib import aclosing
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

from salver.calls.context import CallContext, current_call
from salver.core.batch import Batches
from salver.errors import SalverError, twin_of
from salver.replica.tally import Tally
from salver.spec.batching import BatchOptions

__all__ = ("Batcher", "Feed", "Reply", "current_batch")

_AHEAD: Final = 1024  # items that a batch of streams may be ahead of its slowest reader
_NO_LISTS: Final = (str, bytes, bytearray, Mapping, Set)
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
        self.batch: _Batch | None = None


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


class _Batch:
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


def _give(items: Sequence[Any], results: Iterable[Any]) -> None:
    """To each its own."""
    for item, result in zip(items, results, strict=True):
        item.give(result)


def _fail(items: Sequence[Any], error: BaseException) -> None:
    """The same error for everybody, each with a traceback of its own."""
    for count, item in enumerate(items):
        item.fail(twin_of(error) if count else error)


def _end(items: Sequence[Feed]) -> None:
    for item in items:
        item.end()


class Batcher:
    """The queue of one function, or of one object's method, on one loop."""

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Any]], Any],
        options: BatchOptions,
        *,
        streams: bool,
        tally: Tally,
    ) -> None:
        self._name = name
        self._tally = tally
        self._work = work
        self._streams = streams
        self.loop = asyncio.get_running_loop()
        self._waiting: Batches[Any] = Batches(options, self._size_of(options))
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @staticmethod
    def _size_of(options: BatchOptions) -> Callable[[list[Any]], float] | None:
        size = options.batch_size_fn
        return size and (lambda items: size([item.args[0] for item in items]))

    def put(self, item: Any) -> None:
        """Wait for a batch, and start one if it is time."""
        self._waiting.push(item)
        self._review(item.since)

    def leave(self, item: Any) -> None:
        """The caller does not wait any more."""
        if item.ended and not item.gone:
            return
        item.leave()
        if item.batch is not None:
            item.batch.left()
        else:
            self._waiting.discard(item)

    def set_options(self, options: BatchOptions) -> None:
        """From now on."""
        self._waiting.options = options
        self._cancel_timer()
        self._review(self.loop.time())

    # ---- when

    def _review(self, now: float) -> None:
        first = self._waiting.opens(now)
        self._tell_refused()
        if first is not None:
            self._open(first.context, now)
        elif self._timer is None and (due := self._waiting.due_at()) is not None:
            self._timer = self.loop.call_at(due, self._rang, due)

    def _tell_refused(self) -> None:
        for item, error in self._waiting.refused():
            item.fail(error)

    def _open(self, context: Context, now: float) -> None:
        batch = _Batch()
        batch.task = self.loop.create_task(self._begin(batch, now), context=context)
        self._tasks.add(batch.task)
        batch.task.add_done_callback(lambda task: self._done(task, batch))

    def _rang(self, due: float) -> None:
        self._timer = None
        # Timers may come a little early: what is due is due, and nothing is asked twice.
        self._review(max(due, self.loop.time()))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _done(self, task: asyncio.Task[None], batch: _Batch) -> None:
        self._tasks.discard(task)
        if not batch.taken:  # cancelled before its first step
            self._waiting.ended(opening=True)
            self._review(self.loop.time())

    # ---- a batch

    async def _begin(self, batch: _Batch, opened: float) -> None:
        now = max(opened, self.loop.time())
        batch.items = self._waiting.take(now)
        batch.taken, batch.began = True, now
        self._tell_refused()
        for item in batch.items:
            item.batch = batch
        if self._waiting:  # what was left over may be a further batch
            self._review(now)
        if batch.items:
            batch.enter()
            try:
                await (self._feed(batch) if self._streams else self._answer(batch))
            finally:
                batch.over()

    def _count(self, batch: _Batch) -> None:
        size, began = len(batch.items), batch.began
        waited = size * began - sum(item.since for item in batch.items)
        self._tally.add(size, waited, self.loop.time() - began)

    def _release(self, answer: Callable[..., None], *args: Any) -> None:
        """A batch has ended: what waits begins, and only then do its callers get the answer."""
        self._waiting.ended()
        if self._waiting:
            self._review(self.loop.time())
            self.loop.call_soon(answer, *args)
        else:
            answer(*args)

    async def _answer(self, batch: _Batch) -> None:
        try:
            results = self._checked(await self._work(batch.items), batch)
        except asyncio.CancelledError as cancelled:
            self._stopped(batch, cancelled)
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code: the callers are told
            self._release(_fail, batch.items, error)
        else:
            self._release(_give, batch.items, results)
            self._count(batch)

    async def _feed(self, batch: _Batch) -> None:
        try:
            async with aclosing(self._work(batch.items)) as lists:
                await self._give_out(lists, batch)
        except asyncio.CancelledError as cancelled:
            self._stopped(batch, cancelled)
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - user code: the callers are told
            self._release(_fail, batch.items, error)
        else:
            self._release(_end, batch.items)
            self._count(batch)

    async def _give_out(self, lists: AsyncIterator[Any], batch: _Batch) -> None:
        async for results in lists:
            _give(batch.items, self._checked(results, batch))
            if batch.deserted:
                return
            if batch.far_ahead:
                batch.resumed = self.loop.create_future()
                await batch.resumed

    def _stopped(self, batch: _Batch, cancelled: BaseException) -> None:
        """Cancelled: nobody waits, or the loop comes to its end, and waiting calls with it."""
        self._waiting.ended()
        _fail(batch.items, cancelled)
        self.loop.call_soon(lambda: self._review(self.loop.time()))

    def _checked(self, results: Any, batch: _Batch) -> Any:
        wanted = len(batch.items)
        if type(results) is list and len(results) == wanted:
            return results
        if isinstance(results, _NO_LISTS) or not _is_sized(results):
            raise SalverError(
                f"Batched function {self._name} was given {wanted} items and gave "
                f"{_short(results)}: expected a list of {wanted}, one result for each item."
            )
        if len(results) != wanted:
            raise SalverError(
                f"Batched function {self._name} doesn't preserve batch size: it was given {wanted} "
                f"items and gave {len(results)} results. Return one result for each item, in the "
                "same order."
            )
        return results


def _is_sized(results: Any) -> bool:
    try:
        len(results)
    except TypeError:  # an array without dimensions has no length either
        return False
    return hasattr(type(results), "__getitem__")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
