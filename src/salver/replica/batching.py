"""`@batch`: single calls in, lists through the function, single results out."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import fields
from typing import Any, Final, NoReturn, TypeVar, overload

from salver.replica.batch import Feed, Reply
from salver.replica.batcher import Batcher
from salver.replica.columns import Columns
from salver.replica.context import current_replica
from salver.replica.tally import Tally
from salver.spec.batching import BatchOptions
from salver.spec.mistakes import unknown

__all__ = ("Batched", "batch")

_logger: Final = logging.getLogger("salver")
_NAMES: Final = ("__module__", "__name__", "__qualname__")
W = TypeVar("W", Reply, Feed)


class Batched(functools.partial[Any]):
    # A batched function; bound to an object, a batched method. It is called with single items.
    # (No docstring: it would hide the function's own.)

    args: tuple[Shared, Any]

    def __new__(cls, shared: Shared, owner: Any = None) -> Batched:
        made = super().__new__(cls, _stream if shared.streams else _call, shared, owner)
        if owner is None:
            functools.update_wrapper(made, shared.function, _NAMES)
        return made

    def __set_name__(self, owner: type, name: str) -> None:
        self.args[0].is_method = True

    def __get__(self, instance: Any, owner: type | None = None) -> Batched:
        return self if instance is None else Batched(self.args[0], instance)

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return self.args[0].function.__doc__

    def __getattr__(self, name: str) -> Any:
        """A bound method has the attributes of its function, as other methods do."""
        shared, owner = self.args
        if owner is None:
            raise AttributeError(f"{shared.name} has no attribute {name!r}")
        return shared.function if name == "__wrapped__" else getattr(shared.function, name)

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        """The types of single items, and of one result."""
        signature = self.__signature__
        types = {name: p.annotation for name, p in signature.parameters.items()}
        types["return"] = signature.return_annotation
        return {name: kind for name, kind in types.items() if kind is not signature.empty}

    @property
    def __signature__(self) -> inspect.Signature:
        """What a caller passes: single items."""
        shared, owner = self.args
        return shared.columns(method=owner is not None).signature

    def __reduce__(self) -> Any:
        shared, owner = self.args
        if owner is not None:
            return getattr, (owner, shared.function.__name__)
        return _restored, (shared.function, shared.options, shared.is_method)

    def set_max_batch_size(self, max_batch_size: int) -> None:
        """From now on; of this object only, or (of a function, or on the class) everywhere."""
        shared, owner = self.args
        shared.change(owner, max_batch_size=max_batch_size)

    def set_batch_wait_timeout_s(self, batch_wait_timeout_s: float | None) -> None:
        """From now on; of this object only, or (of a function, or on the class) everywhere."""
        shared, owner = self.args
        shared.change(owner, batch_wait_timeout_s=batch_wait_timeout_s)

    def _get_max_batch_size(self) -> int:
        shared, owner = self.args
        return shared.options_of(owner).max_batch_size

    def _get_batch_wait_timeout_s(self) -> float | None:
        shared, owner = self.args
        return shared.options_of(owner).batch_wait_timeout_s


class Queues:
    """The queues of one object (or of a plain function), by loop, and their options."""

    __slots__ = ("_options", "batchers", "of", "tally")

    def __init__(self, options: BatchOptions, of: weakref.ref[Any] | None) -> None:
        self._options = options
        self.of = of
        self.batchers: dict[asyncio.AbstractEventLoop, Batcher] = {}
        self.tally = Tally()

    @property
    def options(self) -> BatchOptions:
        return self._options

    @options.setter
    def options(self, options: BatchOptions) -> None:
        self._options = options
        for loop, batcher in list(self.batchers.items()):
            if not loop.is_closed():  # called from a thread, too: that of `reconfigure`
                loop.call_soon_threadsafe(batcher.set_options, options)

    def forget_closed_loops(self) -> None:
        for loop in list(self.batchers):
            if loop.is_closed():
                del self.batchers[loop]


class Shared:
    """A batched function and its queues: those of each of its objects.

    They are found by the object's identity and die with it.
    """

    def __init__(self, function: Callable[..., Any], options: BatchOptions) -> None:
        self.function = function
        self.options = options
        self.streams = inspect.isasyncgenfunction(function)
        self.is_method = False
        self.name = getattr(function, "__qualname__", repr(function))
        self._queues: dict[int | None, Queues] = {}
        self._warned_of = 0  # that so many calls are more than the deployment lets in
        self._columns = {False: Columns(function, self.name, method=False)}

    def columns(self, *, method: bool) -> Columns:
        found = self._columns.get(method)
        if found is None:
            found = self._columns[method] = Columns(self.function, self.name, method=method)
        return found

    def owner_in(self, args: tuple[Any, ...]) -> Any:
        """The object in a call like `Class.method(object, item)`; None: it is a function's."""
        if self.is_method:
            if not args:
                raise TypeError(f"{self.name}() is a method: call it on an object.")
            return args[0]
        return args[0] if args and self._is_classmethod_of(args[0]) else None

    def _is_classmethod_of(self, owner: Any) -> bool:
        # From Python 3.13 on a classmethod does not bind what it wraps: it passes the class.
        if not isinstance(owner, type):
            return False
        found = inspect.getattr_static(owner, self.function.__name__, None)
        function = getattr(found, "__func__", None)
        return isinstance(function, Batched) and function.args[0] is self

    def batcher(self, owner: Any) -> Batcher:
        """The queue of this object on the running loop."""
        loop = asyncio.get_running_loop()
        queues = self._queues.get(None if owner is None else id(owner))
        batcher = queues.batchers.get(loop) if queues is not None else None
        return batcher or self._new_batcher(self._queues_of(owner), loop)

    def _new_batcher(self, queues: Queues, loop: asyncio.AbstractEventLoop) -> Batcher:
        of, columns = queues.of, self.columns(method=queues.of is not None)

        def work(items: Sequence[Any]) -> Any:
            # Weakly, or the queue would keep the object alive; the callers do, while they wait.
            first = () if of is None else (of(),)
            return columns.call(first, [item.args for item in items])

        queues.forget_closed_loops()
        self._warn_of_few_calls(queues.options)
        made = Batcher(self.name, work, queues.options, streams=self.streams, tally=queues.tally)
        queues.batchers[loop] = made
        return made

    def _queues_of(self, owner: Any) -> Queues:
        key = None if owner is None else id(owner)
        queues = self._queues.get(key)
        if queues is None:
            of = None if owner is None else self._weakly(owner)
            queues = self._queues.setdefault(key, Queues(self.options, of))
        return queues

    def _weakly(self, owner: Any) -> weakref.ref[Any]:
        key, every = id(owner), self._queues
        try:
            return weakref.ref(owner, lambda _: every.pop(key, None))
        except TypeError:
            raise TypeError(
                f"@batch keeps a queue for each object as long as the object lives, and "
                f"{type(owner).__name__} allows no weak references. Add '__weakref__' to its "
                "__slots__."
            ) from None

    def tally_of(self, owner: Any) -> Tally:
        """What batches there were for this object."""
        return self._queues_of(owner).tally

    def options_of(self, owner: Any) -> BatchOptions:
        """What holds for this object."""
        queues = self._queues.get(None if owner is None else id(owner))
        return queues.options if queues is not None else self.options

    def change(self, owner: Any, **changed: Any) -> None:
        """For one object, or (without) for all, those to come too."""
        if owner is None:
            self.options = self.options.having(**changed)
            every = list(self._queues.values())
        else:
            every = [self._queues_of(owner)]
        for queues in every:
            queues.options = queues.options.having(**changed)
            self._warn_of_few_calls(queues.options)

    def _warn_of_few_calls(self, options: BatchOptions) -> None:
        replica = current_replica.get(None)
        wanted = options.max_batch_size * options.max_concurrent_batches
        if replica is None or not 0 < replica.max_ongoing_requests < wanted:
            return
        if wanted != self._warned_of:
            self._warned_of = wanted
            _logger.warning(
                "%s can take %d calls at a time (max_batch_size=%d, max_concurrent_batches=%d), "
                "but deployment %s lets in %d: its batches will never be full. Set "
                "max_ongoing_requests=%d or more.",
                self.name, wanted, options.max_batch_size, options.max_concurrent_batches,
                replica.deployment, replica.max_ongoing_requests, wanted,
            )  # fmt: skip


def _item(kind: type[W], shared: Shared, owner: Any, args: Any, kwargs: Any) -> tuple[Batcher, W]:
    """A call's item, and the queue for it."""
    if owner is None and (owner := shared.owner_in(args)) is not None:
        args = args[1:]
    batcher = shared.batcher(owner)
    row = shared.columns(method=owner is not None).row(args, kwargs)
    return batcher, kind(row, batcher.loop)


async def _call(shared: Shared, owner: Any, /, *args: Any, **kwargs: Any) -> Any:
    batcher, item = _item(Reply, shared, owner, args, kwargs)
    item.future = batcher.loop.create_future()
    batcher.put(item)
    try:
        return await item.future
    except asyncio.CancelledError:
        batcher.leave(item)
        raise


async def _stream(shared: Shared, owner: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
    batcher, item = _item(Feed, shared, owner, args, kwargs)
    batcher.put(item)
    try:
        async for value in item:
            yield value
    finally:
        batcher.leave(item)


@overload
def batch(_func: Callable[..., Any], /) -> Batched: ...


@overload
def batch(
    _func: None = None,
    /,
    max_batch_size: int = 10,
    batch_wait_timeout_s: float | None = None,
    max_concurrent_batches: int = 1,
    batch_size_fn: Callable[[list[Any]], float] | None = None,
) -> Callable[[Callable[..., Any]], Batched]: ...


def batch(
    _func: Callable[..., Any] | None = None,
    /,
    max_batch_size: int = 10,
    batch_wait_timeout_s: float | None = None,
    max_concurrent_batches: int = 1,
    batch_size_fn: Callable[[list[Any]], float] | None = None,
    **others: Any,
) -> Batched | Callable[[Callable[..., Any]], Batched]:
    """Collect calls, and work on them together: bare, or with options by name.

    Below it is an `async def` that takes a list for each parameter and returns a list of results,
    or one that yields such lists: then each caller gets a stream. Callers pass single items.
    """
    for name in others:
        raise TypeError(
            unknown(name, [field.name for field in fields(BatchOptions)], "an option of @batch")
        )
    options = BatchOptions(
        max_batch_size, batch_wait_timeout_s, max_concurrent_batches, batch_size_fn
    )
    if _func is not None:
        return _decorated(_func, options)
    return lambda function: _decorated(function, options)


def _decorated(function: Any, options: BatchOptions) -> Batched:
    if isinstance(function, Batched):
        _refuse(function, "it has @batch already")
    if isinstance(function, classmethod | staticmethod):
        _refuse(function, f"put @batch below @{type(function).__name__}")
    if not callable(function):
        _refuse(function, "options are given by name: @batch(max_batch_size=8)")
    if not (inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)):
        _refuse(function, "make it `async def`, so that calls can come together while others run")
    return _restored(function, options, is_method=False)


def _restored(function: Callable[..., Any], options: BatchOptions, is_method: bool) -> Batched:
    shared = Shared(function, options)
    shared.is_method = is_method
    return Batched(shared)


def _refuse(given: object, todo: str) -> NoReturn:
    raise TypeError(f"@batch takes an `async def` function or method, got {given!r}: {todo}.")
