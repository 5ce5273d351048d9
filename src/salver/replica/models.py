"""The models of one loader in one object, and of all loaders in one replica."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from itertools import count
from typing import Any, Final

from salver.calls.context import CallContext, current_call
from salver.core.cache import MISSING, UNLIMITED, Cache
from salver.replica.hooks import end_model

__all__ = ("Catalogue", "Models", "current_catalogue")

_logger: Final = logging.getLogger("salver")
Load = Callable[[str], Awaitable[Any]]


class _Request:
    """A model that somebody waits for, until its load has ended."""

    def __init__(self, load: Load, done: asyncio.Future[Any]) -> None:
        self.load = load
        self.done = done
        self.waiting = 0
        self.holders: set[int] = set()


class Models:
    """Loads what is asked for and not there; `core.cache` says what leaves for it.

    A model is held by the call that asked for it until that call has ended, with whatever it left
    to do after its answer. Code that runs outside a call holds nothing.
    """

    def __init__(self, limit: int, *, evict_first: bool = False) -> None:
        self.changed: Callable[[], None] = _nothing
        self._cache: Cache[Any] = Cache(limit, evict_first=evict_first)
        self._loads: dict[str, _Request] = {}  # under way
        self._queue: dict[str, _Request] = {}  # until somebody lets go of a model
        self._holders: weakref.WeakKeyDictionary[CallContext, int] = weakref.WeakKeyDictionary()
        self._calls: dict[int, weakref.ref[CallContext]] = {}
        self._numbers = count(1)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def ids(self) -> tuple[str, ...]:
        """What is here or on its way."""
        return self._cache.models

    @property
    def limit(self) -> int:
        return self._cache.limit

    async def get(self, model_id: str, load: Load) -> Any:
        """The model; loaded first, unless it is there. Several who ask share one load."""
        holder = self._holder()
        model = self._cache.get(model_id, holder)
        if model is not MISSING:
            return model
        request = self._loads.get(model_id) or self._queue.get(model_id)
        if request is None:
            done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            request = self._queue[model_id] = _Request(load, done)
        request.waiting += 1
        if holder is not None:
            request.holders.add(holder)
        self._begin()
        try:
            return await asyncio.shield(request.done)
        finally:
            request.waiting -= 1
            if not request.waiting and self._queue.get(model_id) is request:
                del self._queue[model_id]  # nobody wants it any more, and it has not begun

    async def close(self) -> None:
        """End every model; what is being loaded is given up."""
        for request in self._queue.values():
            request.done.cancel()
        self._queue.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for model in self._cache.clear():
            await _end(model)

    # ---- loads

    def _begin(self) -> None:
        """Begin what has to wait no longer, the longest waiter first."""
        while self._queue:
            model_id, request = next(iter(self._queue.items()))
            waiting = set().union(*(r.holders for r in self._queue.values()))
            left = self._cache.begin(model_id, waiting)
            if left is None:
                return
            del self._queue[model_id]
            self._loads[model_id] = request
            self._run(self._load(model_id, request, left))
            self.changed()

    async def _load(self, model_id: str, request: _Request, left: list[Any]) -> None:
        try:
            for model in left:
                await _end(model)
            model = await request.load(model_id)
        except BaseException as error:
            self._cache.failed(model_id)
            self._loads.pop(model_id, None)
            _fail(request, error)
            if isinstance(error, asyncio.CancelledError):
                raise
        else:
            holders = {holder for holder in request.holders if holder in self._calls}
            self._end_later(self._cache.loaded(model_id, model, holders))
            del self._loads[model_id]
            if not request.done.done():
                request.done.set_result(model)
        finally:
            self.changed()
            self._begin()

    # ---- who uses what

    def _holder(self) -> int | None:
        """The running call as a holder."""
        call = current_call.get()
        if call is None:
            return None
        holder = self._holders.get(call)
        if holder is None or holder not in self._calls:
            holder = self._holders[call] = next(self._numbers)
            # Told by its end; or, should it have ended already and left a task behind, by the
            # task's: then nothing refers to it any more, and that may be seen in any thread.
            later = asyncio.get_running_loop().call_soon_threadsafe
            self._calls[holder] = weakref.ref(call, partial(_unseen, later, self._let_go, holder))
            call.at_end(partial(self._let_go, holder))
        return holder

    def _let_go(self, holder: int) -> None:
        if self._calls.pop(holder, None) is None:
            return
        left = self._cache.let_go(holder)
        if left:
            self._end_later(left)
            self.changed()
        if self._queue:
            self._begin()

    def _end_later(self, left: list[Any]) -> None:
        for model in left:
            self._run(_end(model))

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _unseen(later: Callable[..., Any], let_go: Callable[[int], None], holder: int, _: Any) -> None:
    with suppress(RuntimeError):  # the loop is closed, and its models are gone
        later(let_go, holder)


def _nothing() -> None:
    """Nobody wants to know."""


def _fail(request: _Request, error: BaseException) -> None:
    if request.done.done():
        return
    if isinstance(error, asyncio.CancelledError):
        request.done.cancel()
        return
    request.done.set_exception(error)
    if not request.waiting:
        request.done.exception()  # nobody is left to be told
        _logger.warning("A model that nobody waits for any more could not be loaded: %r", error)


async def _end(model: Any) -> None:
    try:
        await end_model(model)
    except Exception:  # the user's code: the model has left all the same
        _logger.exception("While a model was ended:")


class Catalogue:
    """All the models of one replica, whichever loader they are of."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._parts: list[Models] = []

    def add(self, models: Models) -> None:
        """These are of this replica, too."""
        models.changed = self._changed
        self._parts.append(models)
        self._changed()

    @property
    def ids(self) -> tuple[str, ...]:
        """What is here or on its way."""
        return tuple(sorted({model_id for part in self._parts for model_id in part.ids}))

    @property
    def room(self) -> int:
        """How many models there may be; -1: any number."""
        limits = [part.limit for part in self._parts]
        return UNLIMITED if UNLIMITED in limits else sum(limits)

    async def close(self) -> None:
        """End every model."""
        for part in self._parts:
            part.changed = _nothing
            await part.close()


current_catalogue: Final[ContextVar[Catalogue | None]] = ContextVar(
    "salver_current_catalogue", default=None
)
