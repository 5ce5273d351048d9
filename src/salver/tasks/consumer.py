"""`@task_consumer` and `@task_handler`: a class whose methods work on tasks from a queue."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from contextvars import Context, copy_context
from typing import Any, Final, TypeVar, cast, overload

from salver.replica.context import ReplicaContext
from salver.replica.duty import DUTY, Duty
from salver.spec.tasks import TaskProcessorConfig
from salver.tasks.adapter import TaskProcessorAdapter, instantiate_adapter_from_config

__all__ = ("Consumer", "task_consumer", "task_handler")

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
_NAME: Final = "__salver_task__"


@overload
def task_handler(_func: F, /, *, name: str | None = None) -> F: ...


@overload
def task_handler(_func: None = None, /, *, name: str | None = None) -> Callable[[F], F]: ...


def task_handler(_func: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
    """Have a method do the tasks of this name; without one, of the method's. It may be `async`."""
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(f"@task_handler(name={name!r}): expected a str of at least one character.")

    def mark(function: F) -> F:
        setattr(function, _NAME, name or function.__name__)
        return function

    return mark if _func is None else mark(_func)


def task_consumer(*, task_processor_config: TaskProcessorConfig) -> Callable[[C], C]:
    """Let the replicas of a deployment of this class work on the tasks of a queue."""
    if not isinstance(task_processor_config, TaskProcessorConfig):
        raise TypeError(
            f"@task_consumer(task_processor_config={task_processor_config!r}): expected a "
            "TaskProcessorConfig."
        )

    def decorate(cls: C) -> C:
        if not inspect.isclass(cls):
            raise TypeError(
                f"@task_consumer takes a class, got {cls!r}. Put @serve.deployment above it."
            )
        # A class of its own: the undecorated one may be found, and used, under its name.
        duty = functools.partial(Consumer, task_processor_config)
        own = {name: getattr(cls, name) for name in ("__doc__", "__module__", "__qualname__")}
        make: Any = type(cls)
        return cast("C", make(cls.__name__, (cls,), {**own, DUTY: duty}))

    return decorate


class Consumer(Duty):
    """The duty of a replica's object: takes tasks for it, from its start to its draining."""

    def __init__(self, config: TaskProcessorConfig, target: Any, context: ReplicaContext) -> None:
        self._config = config
        self._target = target
        self._concurrency = context.max_ongoing_requests
        self._adapter: TaskProcessorAdapter | None = None

    async def begin(self) -> None:
        """Take tasks; raises what keeps it from that."""
        begin = functools.partial(self._begin, asyncio.get_running_loop(), copy_context())
        await asyncio.to_thread(begin)

    def _begin(self, loop: asyncio.AbstractEventLoop, space: Context) -> None:
        adapter = instantiate_adapter_from_config(self._config, self._concurrency)
        for name, handler in _handlers(self._target):
            adapter.register_task_handle(_in_place(handler, loop, space), name)
        adapter.start_consumer()
        self._adapter = adapter

    def check(self) -> None:
        """Raise what ails it."""
        if self._adapter is not None:
            self._adapter.check_consumer()

    async def drain(self, timeout_s: float) -> bool:
        """Take no further task; whether those under way have ended in time."""
        adapter, self._adapter = self._adapter, None
        if adapter is None:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.to_thread(adapter.stop_consumer, timeout_s)
        except TimeoutError:
            return False
        return True


def _handlers(target: Any) -> Iterator[tuple[str, Callable[..., Any]]]:
    kind = type(target)
    for attribute in dir(kind):
        name = getattr(getattr(kind, attribute, None), _NAME, None)
        if name is not None:
            yield name, getattr(target, attribute)


def _in_place(
    handler: Callable[..., Any], loop: asyncio.AbstractEventLoop, space: Context
) -> Callable[..., Any]:
    """The same for threads of others: with the replica's context, and `async` on its loop."""

    @functools.wraps(handler)
    def work(*args: Any, **kwargs: Any) -> Any:
        if not inspect.iscoroutinefunction(handler):
            return space.copy().run(handler, *args, **kwargs)
        task = space.copy().run(asyncio.run_coroutine_threadsafe, handler(*args, **kwargs), loop)
        return task.result()

    return work
