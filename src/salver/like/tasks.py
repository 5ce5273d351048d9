"""`@ray.remote` functions and `ObjectRef`s: calls in threads of this process, and their values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import update_wrapper
from time import monotonic
from typing import Any, Final, NoReturn, Self

from salver.calls.response import DeploymentResponse

__all__ = ("ObjectRef", "RemoteClass", "RemoteFunction", "Threads")

_AT_ONCE: Final = 64


class Threads:
    """The threads of one process, made when the first call comes."""

    def __init__(self) -> None:
        self.initialized = False  # whether `ray.init` was called
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_AT_ONCE, "ray-task")
        return self._pool.submit(call)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has threads of its own."""
        return Threads, ()


class ObjectRef:
    """A value that is there, or will be. In another process it is the value itself."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    @classmethod
    def of(cls, value: Any) -> Self:
        future: Future[Any] = Future()
        future.set_result(value)
        return cls(future)

    def result(self, timeout: float | None = None) -> Any:
        """The value; waits for it. TimeoutError: it did not come in time."""
        try:
            return self._future.result(timeout)
        except TimeoutError:
            if self._future.done():
                raise  # the task's own
            raise TimeoutError(f"No value within {timeout:g}s. The task goes on.") from None

    def future(self) -> Future[Any]:
        return self._future

    def cancel(self) -> bool:
        return self._future.cancel()

    def __await__(self) -> Generator[Any, None, Any]:
        return asyncio.wrap_future(self._future).__await__()

    def __reduce__(self) -> tuple[Any, ...]:
        return _same, (self.result(),)

    @classmethod
    def wait(
        cls, refs: list[Any], number: int, timeout: float | None
    ) -> tuple[list[Any], list[Any]]:
        """The first `number` that are done, in the order given, and the others."""
        if not all(isinstance(ref, cls) for ref in refs):
            raise TypeError("ray.wait takes ObjectRefs here. Of responses, await the one you need.")
        end = None if timeout is None else monotonic() + timeout
        while sum(ref._future.done() for ref in refs) < number:
            left = None if end is None else max(0.0, end - monotonic())
            open_ = [ref._future for ref in refs if not ref._future.done()]
            if not wait(open_, left, FIRST_COMPLETED).done:
                break
        done = [ref for ref in refs if ref._future.done()][:number]
        return done, [ref for ref in refs if ref not in done]


def _same(value: Any) -> Any:
    return value


class RemoteFunction:
    """A function whose `remote` runs it in a thread and returns at once."""

    def __init__(self, function: Callable[..., Any], threads: Threads) -> None:
        self._function = function
        self._threads = threads
        update_wrapper(self, function)

    @classmethod
    def of(
        cls, code: Any, threads: Threads, options: Mapping[str, Any] | None = None
    ) -> RemoteFunction | RemoteClass:
        """NotImplementedError: what takes more than a thread."""
        if isinstance(code, type):
            return RemoteClass(code)
        if (options or {}).get("num_returns", 1) != 1:
            raise NotImplementedError(
                f"@ray.remote(num_returns={(options or {})['num_returns']!r}) is not supported. "
                "Return a tuple."
            )
        return cls(code, threads)

    def remote(self, *args: Any, **kwargs: Any) -> ObjectRef:
        """Run it. ObjectRefs and responses among the arguments are waited for."""
        return ObjectRef(self._threads.submit(lambda: self._call(args, kwargs)))

    def options(self, **options: Any) -> RemoteFunction | RemoteClass:
        return RemoteFunction.of(self._function, self._threads, options)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        values = [_value(arg) for arg in args]
        result = self._function(*values, **{name: _value(arg) for name, arg in kwargs.items()})
        return asyncio.run(result) if asyncio.iscoroutine(result) else result

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        raise TypeError(
            f"Remote functions are not called: use {self._function.__name__}.remote(...)."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFunction, (self._function, self._threads)


class RemoteClass:
    """A class under `@ray.remote`: it may be a deployment actor's, and no more."""

    def __init__(self, code: type) -> None:
        self.func_or_class = code

    def options(self, **_options: Any) -> Self:
        return self

    def remote(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            f"{self.func_or_class.__name__}.remote() is not supported: an object in a process of "
            "its own is a deployment. Use @serve.deployment and its handle, or deployment_actors."
        )

    def __call__(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        self.remote()


def _value(arg: Any) -> Any:
    return arg.result() if isinstance(arg, ObjectRef | DeploymentResponse) else arg
