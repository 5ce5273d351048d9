"""Runs batches: collects single calls on one event loop, and says when a batch begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import aclosing
from contextvars import Context
from typing import Any, Final

from salver.core.batch import Batches
from salver.errors import SalverError
from salver.replica.batch import Batch, end, fail, give
from salver.replica.tally import Tally
from salver.spec.batching import BatchOptions

__all__ = ("Batcher",)

_NO_LISTS: Final = (str, bytes, bytearray, Mapping, Set)


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
        batch = Batch()
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

    def _done(self, task: asyncio.Task[None], batch: Batch) -> None:
        self._tasks.discard(task)
        if not batch.taken:  # cancelled before its first step
            self._waiting.ended(opening=True)
            self._review(self.loop.time())

    # ---- a batch

    async def _begin(self, batch: Batch, opened: float) -> None:
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

    def _count(self, batch: Batch) -> None:
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

    async def _answer(self, batch: Batch) -> None:
        try:
            results = self._checked(await self._work(batch.items), batch)
        except asyncio.CancelledError as cancelled:
            self._stopped(batch, cancelled)
            raise
        except BaseException as error:  # noqa: BLE001 - user code: the callers are told
            self._release(fail, batch.items, error)
        else:
            self._release(give, batch.items, results)
            self._count(batch)

    async def _feed(self, batch: Batch) -> None:
        try:
            async with aclosing(self._work(batch.items)) as lists:
                await self._give_out(lists, batch)
        except asyncio.CancelledError as cancelled:
            self._stopped(batch, cancelled)
            raise
        except BaseException as error:  # noqa: BLE001 - user code: the callers are told
            self._release(fail, batch.items, error)
        else:
            self._release(end, batch.items)
            self._count(batch)

    async def _give_out(self, lists: AsyncIterator[Any], batch: Batch) -> None:
        async for results in lists:
            give(batch.items, self._checked(results, batch))
            if batch.deserted:
                return
            if batch.far_ahead:
                batch.resumed = self.loop.create_future()
                await batch.resumed

    def _stopped(self, batch: Batch, cancelled: BaseException) -> None:
        """Cancelled: nobody waits, or the loop comes to its end, and waiting calls with it."""
        self._waiting.ended()
        fail(batch.items, cancelled)
        self.loop.call_soon(lambda: self._review(self.loop.time()))

    def _checked(self, results: Any, batch: Batch) -> Any:
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
