"""Threads for `def` handlers: one queue in, and back by one wake-up of the loop per burst."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

__all__ = ("Pool",)

_logger: Final = logging.getLogger("salver")
_Done = Callable[[Any, BaseException | None], None]


class Pool:
    """At most `size` threads, started as they are needed; jobs beyond wait in order."""

    def __init__(self, size: int, loop: asyncio.AbstractEventLoop, name: str = "salver") -> None:
        self._size = size
        self._loop = loop
        self._name = name
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._results: deque[tuple[_Done, Any, BaseException | None]] = deque()
        self._threads: list[threading.Thread] = []
        self._under_way = 0  # of the loop's side only
        self._waking = False
        self._closed = False

    def resize(self, size: int) -> None:
        """Allow more (or, for threads not started yet, fewer) threads."""
        self._size = size

    def submit(self, context: Context, work: Callable[[], Any], done: _Done) -> None:
        """Run `work` in a thread, in that context; `done(value, error)` follows on the loop."""
        self._under_way += 1
        if self._under_way > len(self._threads) < self._size:
            try:
                self._start_thread()
            except RuntimeError as error:
                if not self._threads:
                    self._return(done, None, error)
                    return
                self._make_do(error)
        self._jobs.put((context, work, done))

    async def run(self, context: Context, work: Callable[[], Any]) -> Any:
        """Run `work` in a thread and wait for what it returns."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def done(value: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if isinstance(error, StopIteration):  # a future cannot carry it
                error = RuntimeError("the function raised StopIteration")
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        self.submit(context, work, done)
        return await future

    def close(self) -> None:
        """End the threads that are idle; those at work end when it returns."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)

    def _make_do(self, error: RuntimeError) -> None:
        """The system lets no further thread begin: those that are there do it all."""
        wanted, self._size = self._size, len(self._threads)
        text = "Of %d threads for `def` handlers only %d could begin, which all share now: %s."
        _logger.warning(text, wanted, self._size, error)

    def _start_thread(self) -> None:
        thread = threading.Thread(
            target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True
        )
        thread.start()
        self._threads.append(thread)

    def _serve(self) -> None:
        jobs = self._jobs
        while (job := jobs.get()) is not None:
            context, work, done = job
            value, error = None, None
            try:
                value = context.run(work)
            except BaseException as raised:  # noqa: BLE001 - user code; whoever waits is told
                error = raised
            self._return(done, value, error)
            del job, context, work, done, value, error  # idle threads hold nothing alive

    def _return(self, done: _Done, value: Any, error: BaseException | None) -> None:
        self._results.append((done, value, error))
        # Set before the loop is woken, cleared by it before it looks at the deque: a result is
        # either seen by the wake-up under way or causes one of its own.
        if not self._waking:
            self._waking = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop is closed: nobody waits any more
                if not self._closed:
                    raise

    def _deliver(self) -> None:
        self._waking = False
        results = self._results
        while results:
            done, value, error = results.popleft()
            self._under_way -= 1
            done(value, error)
