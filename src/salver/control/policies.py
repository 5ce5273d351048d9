"""Users' autoscaling policies: each in a thread of its own, for it may block or fail."""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import isfinite
from typing import Any, Final, cast

from salver.errors import SalverError
from salver.replica.code import load_code
from salver.spec.autoscaling import AutoscalingContext, AutoscalingPolicy
from salver.spec.code import ImportedCode, PickledCode
from salver.spec.ids import DeploymentId

__all__ = ("Policy", "Wish", "WishError", "read_wish", "read_wishes", "said")

LIMIT_S: Final = 5.0  # for one answer

Wish = tuple[float, dict[str, Any]]


class WishError(TypeError):
    """What a policy has answered makes no sense."""


class Policy:
    """One policy of a user's. A class is made once, a function is called with its arguments.

    It is called on an event loop, so that it may start tasks, which go on until it is closed.
    """

    def __init__(self, policy: AutoscalingPolicy, sys_path: tuple[str, ...] = ()) -> None:
        self.spec = policy
        self._sys_path = sys_path
        self._function: Callable[[Any], Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._answers = False  # at this moment

    async def ask(self, told: Any) -> Any:
        """What it answers. Raises what it raises; SalverError: it takes too long."""
        limit_s = LIMIT_S
        if self._answers:
            raise SalverError(f"it has not answered for more than {limit_s:g}s, and still runs.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def work() -> None:
            answer, error = None, None
            try:
                answer = self._call(told)
            except BaseException as failure:  # noqa: BLE001 - the user's code: anything, exit too
                error = failure
            self._answers = False
            with suppress(RuntimeError):  # the loop has ended in the meantime
                loop.call_soon_threadsafe(_settle, future, answer, error)

        self._answers = True
        self._own_loop().call_soon_threadsafe(work)
        try:
            await asyncio.wait([future], timeout=limit_s)
            if future.done():
                return future.result()
        finally:
            future.cancel()
        raise SalverError(f"it has not answered within {limit_s:g}s.")

    def close(self) -> None:
        """Ask no more; what the policy has started ends."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=_run, args=(self._loop,), name="salver-policy", daemon=True
            ).start()
        return self._loop

    def _call(self, told: Any) -> Any:
        if self._function is None:
            self._function = self._load()
        return self._function(told)

    def _load(self) -> Callable[[Any], Any]:
        sys.path += [entry for entry in self._sys_path if entry not in sys.path]
        return _load_policy(self.spec)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """Until it is stopped; what runs on it then is cancelled."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()


def _load_policy(policy: AutoscalingPolicy) -> Callable[[Any], Any]:
    """The function, or what the class makes, with its arguments."""
    found, kwargs = load_code(_code(policy.policy_function)), policy.policy_kwargs
    if inspect.isclass(found):
        return cast("Callable[[Any], Any]", found(**kwargs))
    return lambda told: found(told, **kwargs)


def _code(function: Any) -> ImportedCode | PickledCode:
    if isinstance(function, str):
        module, colon, name = function.partition(":")
        return ImportedCode(*((module, name) if colon else function.rsplit(".", 1)))
    if isinstance(function, ImportedCode | PickledCode):
        return function
    raise SalverError(f"{function!r} has not been made fit to travel.")


def _settle(future: asyncio.Future[Any], answer: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(answer)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        future.set_exception(error)
    else:
        future.set_exception(SalverError(f"it raised {error!r}."))


def read_wish(answer: Any) -> Wish:
    """A deployment policy's answer: how many, and what it wants to find again. Else WishError."""
    try:
        number, state = answer
    except (TypeError, ValueError):
        raise WishError(f"it returned {_short(answer)}: expected (number, dict).") from None
    return _number(number), _state(state)


def read_wishes(answer: Any, contexts: Mapping[DeploymentId, AutoscalingContext]) -> dict[
    DeploymentId, Wish
]:  # fmt: skip
    """An app policy's answer: the same by deployment. Who is left out stays as it is."""
    try:
        numbers, states = answer
        unknown = [str(deployment) for deployment in numbers if deployment not in contexts]
    except (TypeError, ValueError):
        raise WishError(
            f"it returned {_short(answer)}: expected (dict of numbers, dict of dicts), both by "
            "deployment id."
        ) from None
    if unknown:
        raise WishError(f"it returned a number for {unknown[0]}, which is none of its deployments.")
    states = {} if states is None else states
    return {d: (_number(n), _state(states.get(d))) for d, n in numbers.items()}


def _number(number: Any) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise WishError(f"it wants {_short(number)} replicas: expected a number.")
    if not isfinite(number) or number < 0:
        raise WishError(f"it wants {number!r} replicas: expected a number that is 0 or more.")
    return float(number)


def _state(state: Any) -> dict[str, Any]:
    if state is None:
        return {}
    if not isinstance(state, dict):
        raise WishError(f"it returned the state {_short(state)}: expected a dict.")
    return state


def said(error: Exception) -> str:
    """The policy's own error by its name; what we say of it as it is."""
    ours = isinstance(error, SalverError | WishError)
    return str(error) if ours else f"{type(error).__name__}: {error}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
