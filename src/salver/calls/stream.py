"""What `handle.options(stream=True).remote()` gives back: items, as the callee yields them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from typing import Any, Final, NoReturn

from salver.calls.call import DONE, SENT
from salver.calls.context import Child
from salver.calls.outgoing import HandleCall
from salver.calls.response import raise_afresh
from salver.calls.router import Router
from salver.calls.splice import Encoded
from salver.errors import RequestCancelledError, SalverError
from salver.wire.frames import CREDIT, INITIAL_CREDIT, chunk_cost
from salver.wire.payload import Segments, load_error, loads

__all__ = ("DeploymentResponseGenerator", "StreamCall")

# Credit is renewed in lots, so that the callee seldom waits and few frames are spent on it.
REFILL: Final = INITIAL_CREDIT // 2

_ONE_BY_ONE: Final = (
    "A DeploymentResponseGenerator yields items: iterate over it with `async for` (or `for` in "
    "code without an event loop). `await` and `.result()` are for calls without `stream=True`."
)


class StreamCall(HandleCall):
    """The call behind a generator. The link holds this one, users the generator: so a generator
    that nobody can reach any more is noticed, and the callee stops."""

    __slots__ = ("_error", "_items", "_taken")

    def __init__(
        self,
        router: Router,
        method: str,
        payload: bytes | Encoded,
        meta: bytes,
        children: set[Child] | None,
    ) -> None:
        HandleCall.__init__(self, router, method, payload, meta, children, streaming=True)
        self._items: deque[bytes | Segments] = deque()
        self._taken = 0
        self._error: bytes | Segments | BaseException | None = None

    # ---- for links and routers

    def answered(self, _flags: int, _payload: bytes | Segments) -> None:
        """A whole answer where a stream was asked for."""
        self.failed(SalverError(f"{self._method!r} of {self.router.deployment} gave no stream."))

    def chunk(self, _flags: int, payload: bytes | Segments) -> None:
        """One more item."""
        self._items.append(payload)
        if self._waiters:
            self._wake()

    def ended(self, _flags: int) -> None:
        """That was the last."""
        self._done()

    def errored(self, payload: bytes | Segments) -> None:
        """The callee raised."""
        self._error = payload
        self._done()

    def failed(self, error: BaseException) -> None:
        """There will be no further item."""
        self._error = error
        self._done()

    def _give_up(self) -> None:
        self._items.clear()
        self.failed(RequestCancelledError(self.request_id))

    def failure(self) -> bytes | Segments | BaseException | None:
        return self._error

    def encoded_result(self) -> Encoded | None:
        return None

    # ---- for the generator

    def _arrived(self) -> bool:
        return bool(self._items) or self.state == DONE

    def wait(self) -> Generator[Any, None, None]:
        return self._wait()

    def block(self) -> None:
        self._block(None, "Iterating over a stream with `for`", "async for")

    def take(self) -> bytes | Segments | None:
        """The next item that has come; None: none has. Grants the callee new credit."""
        try:
            item = self._items.popleft()
        except IndexError:
            return None
        self._taken += chunk_cost(len(item))
        if self._taken >= REFILL:
            taken, self._taken = self._taken, 0
            if self.state == SENT:
                self.router.cluster.run(self._grant, taken)
        return item

    def _grant(self, amount: int) -> None:
        if self.state == SENT and self.link is not None:
            self.link.conn.send(CREDIT, 0, amount, self.call_id)

    def take_error(self) -> bytes | Segments | BaseException | None:
        """Why the stream ended, if not well; told once."""
        error, self._error = self._error, None
        return error


class DeploymentResponseGenerator(AsyncIterator[Any], Iterator[Any]):
    """The items of a streamed answer, as they come.

    In async code iterate with `async for`, elsewhere with `for`. The callee is never more than a
    few dozen items ahead. It is cancelled when the iteration is left early: by `break` (as soon as
    nothing refers to the generator), `aclose()`, `close()` or `cancel()`.
    """

    __slots__ = ("__weakref__", "_call", "_over")

    def __init__(self, call: StreamCall) -> None:
        self._call = call
        self._over = False

    @property
    def request_id(self) -> str:
        """The id of the request that this call serves, as the callee's logs show it."""
        return self._call.request_id

    def cancel(self) -> None:
        """Cancel the call, and with it the calls that it has made. Harmless when it is done."""
        self._call.cancel()

    def cancelled(self) -> bool:
        """Whether `cancel` was called. (It may have run to its end all the same.)"""
        return self._call.cancelled()

    def close(self) -> None:
        """Want no further items."""
        self._over = True
        self._call.cancel()

    async def aclose(self) -> None:
        """Want no further items."""
        self.close()

    def __del__(self) -> None:
        # Not there when the constructor failed.
        call: StreamCall | None = getattr(self, "_call", None)
        if call is not None and call.state != DONE:
            with suppress(RuntimeError):  # the loop is closed, and the call with it
                call.cancel()

    def __aiter__(self) -> DeploymentResponseGenerator:
        return self

    async def __anext__(self) -> Any:
        call = self._call
        while not self._over:
            # Looked at before the items are: what came before the end is taken before the end.
            done = call.state == DONE
            item = call.take()
            if item is not None:
                return loads(item)
            if done:
                self._finish()
                break
            await _Until(call)
        raise StopAsyncIteration

    def __iter__(self) -> DeploymentResponseGenerator:
        return self

    def __next__(self) -> Any:
        call = self._call
        while not self._over:
            done = call.state == DONE
            item = call.take()
            if item is not None:
                return loads(item)
            if done:
                self._finish()
                break
            call.block()
        raise StopIteration

    def _finish(self) -> None:
        """The end: raise what ended it, if it was not its own."""
        self._over = True
        error = self._call.take_error()
        if isinstance(error, BaseException):
            raise_afresh(error)
        if error is not None:
            raise load_error(error)

    def __await__(self) -> NoReturn:
        raise TypeError(_ONE_BY_ONE)

    def result(self, **_options: Any) -> Any:
        """Always a TypeError: a stream has items, not a result."""
        raise TypeError(_ONE_BY_ONE)

    def _to_object_ref_gen(self, *_args: Any, **_options: Any) -> NoReturn:
        """Not here: items are no objects of Ray's."""
        raise NotImplementedError(
            "Items travel between Salver's own processes and are no objects of Ray's, so there is "
            "no ObjectRefGenerator. Iterate over the response."
        )

    _to_object_ref_gen_sync = _to_object_ref_gen

    def __reduce__(self) -> NoReturn:
        raise RuntimeError(
            "A DeploymentResponseGenerator cannot be passed to another handle call. Iterate over "
            "it here, or let the other deployment call this one."
        )


class _Until:
    """Awaits the next item or the end of a stream."""

    __slots__ = ("_call",)

    def __init__(self, call: StreamCall) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, None, None]:
        return self._call.wait()
