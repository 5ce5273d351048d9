"""What `handle.remote()` gives back: one answer, to be awaited or waited for."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Generator
from typing import Any, Final, NoReturn

from salver.calls.call import DONE
from salver.calls.context import Child
from salver.calls.outgoing import HandleCall, encoded
from salver.calls.router import Router
from salver.calls.splice import Encoded
from salver.errors import RequestCancelledError, SalverError, twin_of
from salver.wire.payload import Segments, dumps, load_error, loads

__all__ = ("DeploymentResponse", "raise_afresh")

# What `_result` holds once the call is done.
NOTHING: Final = 0
PAYLOAD: Final = 1  # as it came, not decoded
VALUE: Final = 2  # nothing any more: it is decoded, in `_value`
ERROR: Final = 3  # the callee's exception, as it came
FAILURE: Final = 4  # an exception of this side
CANCELLED: Final = 5

_NOT_PICKLED: Final = (
    "A DeploymentResponse cannot be pickled, so it cannot be nested in another object that is "
    "passed to a handle. Pass it as an argument of its own (its result is then sent in its place), "
    "or await it first."
)


_NO_OBJECT: Final = (
    "Results travel between Salver's own processes and are no objects of Ray's, so there is no "
    "ObjectRef. Pass the response itself as an argument to another handle call, or await it."
)


class DeploymentResponse(HandleCall):
    """The answer to a call that is under way.

    In async code `await` it, as often as wanted and from any event loop; elsewhere call
    `.result()`. Passed as it is as an argument of another handle call, it becomes its result there,
    which does not pass through this process's hands.
    """

    __slots__ = ("__weakref__", "_kind", "_result", "_value")

    def __init__(
        self,
        router: Router,
        method: str,
        payload: bytes | Encoded,
        meta: bytes,
        children: set[Child] | None,
    ) -> None:
        HandleCall.__init__(self, router, method, payload, meta, children)
        self._kind = NOTHING
        self._result: Any = None
        self._value: Any = None

    # ---- for users

    def __await__(self) -> Generator[Any, None, Any]:
        if self.state != DONE:
            cluster = self.router.cluster
            if cluster.at_home() and not self._waiters:
                # The usual case, without the general one's bookkeeping.
                future: Future[None] = cluster.loop.create_future()
                self._waiters.append(future)
                try:
                    yield from future
                except BaseException:
                    self._deserted(future)
                    raise
            else:
                yield from self._wait()
        if self._kind == PAYLOAD:
            return self._decode()
        return self._outcome()

    def result(self, *, timeout_s: float | None = None, _skip_asyncio_check: bool = False) -> Any:
        """Wait for the answer, in a thread that runs no event loop.

        Raises what the callee raised; TimeoutError when `timeout_s` passes first (the call goes
        on: `.cancel()` ends it); RuntimeError when an event loop runs in this thread.
        """
        done = self._block(
            timeout_s, "`response.result()`", "await response", check=not _skip_asyncio_check
        )
        if not done:
            raise TimeoutError(
                f"No answer within {timeout_s:g}s. The call goes on; `response.cancel()` ends it."
            )
        return self._outcome()

    def _to_object_ref(self, *_args: Any, **_options: Any) -> NoReturn:
        """Not here: a result is no object of Ray's."""
        raise NotImplementedError(_NO_OBJECT)

    _to_object_ref_sync = _to_object_ref

    def __reduce__(self) -> NoReturn:
        raise SalverError(_NOT_PICKLED)

    def __repr__(self) -> str:
        state = "cancelled" if self._kind == CANCELLED else ("queued", "sent", "done")[self.state]
        return f"<DeploymentResponse of {self.router.deployment}.{self._method} {state}>"

    # ---- for links and routers

    def answered(self, _flags: int, payload: bytes | Segments) -> None:
        """The result came."""
        self._result = payload
        self._kind = PAYLOAD
        self._done()

    def errored(self, payload: bytes | Segments) -> None:
        """The callee raised. Decoded where it is raised, each time anew."""
        self._end(ERROR, payload)

    def failed(self, error: BaseException) -> None:
        """There will be no answer."""
        self._end(FAILURE, error)

    def _give_up(self) -> None:
        self._end(CANCELLED, None)

    def _end(self, kind: int, result: Any) -> None:
        self._result = result
        self._kind = kind
        self._done()

    # ---- the outcome

    def _decode(self) -> Any:
        """The result as an object; decoded once, by the first who asks."""
        # Two threads may do this at the same time: each leaves a complete state behind at every
        # step, for `_value` is there before `_kind` says so, and `_result` goes last.
        payload = self._result
        if self._kind == PAYLOAD:
            self._value = loads(payload)
            self._kind = VALUE
            self._result = None
        return self._value

    def _outcome(self) -> Any:
        kind, result = self._kind, self._result
        if kind in (PAYLOAD, VALUE):
            return self._decode()
        if kind == ERROR:
            raise load_error(result)
        if kind == FAILURE:
            raise_afresh(result)
        raise RequestCancelledError(self.request_id)

    def value_if_known(self) -> tuple[Any] | None:
        """The result, if it was decoded already."""
        return (self._value,) if self._kind == VALUE else None

    def encoded_result(self) -> Encoded | None:
        """The result for another call's arguments; None: it failed."""
        payload = self._result
        if self._kind == PAYLOAD:
            return encoded(payload)
        return dumps(self._value) if self._kind == VALUE else None

    def failure(self) -> bytes | Segments | BaseException | None:
        """Why there is no result; None: there is one."""
        if self._kind == CANCELLED:
            return RequestCancelledError(self.request_id)
        return self._result if self._kind in (ERROR, FAILURE) else None

    def _deserted(self, future: Future[None]) -> None:
        """The awaiting task was cancelled: the call is, too, unless somebody else awaits it."""
        self._leave(future)
        if not self._waiters:
            self.cancel()


def raise_afresh(error: BaseException) -> NoReturn:
    """Raise a copy, so that an error raised many times does not grow a traceback."""
    raise twin_of(error).with_traceback(None)
