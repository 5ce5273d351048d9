"""Connections to one server, kept and used again; what may be tried again, is."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeVar

from salver.client.deadline import Deadline
from salver.client.errors import ClientError, DeadlineError, LinkError, UnavailableError
from salver.client.http import Incoming, Reply, Request, send
from salver.client.rim import Pipe, Rim

__all__ = ("Pool", "retried")

R = TypeVar("R")

_AT_A_TIME: Final = 256  # a process may have some 1,000 files open, unless its limit was raised
_IDLE_S: Final = 30.0
_FIRST_WAIT_S: Final = 0.05
_LONGEST_WAIT_S: Final = 10.0


async def retried(
    once: Callable[[], Awaitable[R]], rim: Rim, deadline: Deadline, *, retries: int, safe: bool
) -> R:
    """What `once` gives, tried again where it is certain that nothing is done twice.

    That is: nobody could be reached, or the server asks to send it again (503 with Retry-After).
    `safe`: doing it twice is the same as once, so a lost link is no reason to give up either.
    """
    wait = _FIRST_WAIT_S
    for left in range(retries, -1, -1):
        try:
            reply = await once()
        except UnavailableError:
            if not left or not deadline.allows(wait):
                raise
        except LinkError:
            if not left or not safe or not deadline.allows(wait):
                raise
        else:
            asked = _asked_to_wait(reply)
            if asked is None or not left or not deadline.allows(max(asked, wait)):
                return reply
            wait = max(asked, wait)
        await rim.sleep(wait)
        wait *= 2
    raise AssertionError("the last round returns or raises")


def _asked_to_wait(reply: object) -> float | None:
    if not isinstance(reply, Reply) or reply.status != 503:
        return None
    text = reply.headers.get("retry-after", "")
    return min(float(text), _LONGEST_WAIT_S) if text.isdigit() else None


class Turns:
    """So many at a time; who comes later waits in line. Threads may share it."""

    def __init__(self, rim: Rim, limit: int) -> None:
        self._rim = rim
        self._free = limit
        self._lock = threading.Lock()
        self._line: deque[Callable[[], None]] = deque()

    async def take(self, deadline: Deadline) -> None:
        """Return when it is one's turn; DeadlineError: it did not come."""
        with self._lock:
            if self._free:
                self._free -= 1
                return
        waiting: list[Callable[[], None]] = []

        def begin(done: Callable[[], None]) -> None:
            with self._lock:
                if not self._free:
                    waiting.append(done)
                    self._line.append(done)
                    return
                self._free -= 1  # one has just ended
            done()

        try:
            await self._rim.wait(begin, deadline)
        except BaseException:
            self._leave(waiting)
            raise

    def _leave(self, waiting: list[Callable[[], None]]) -> None:
        """Wait no more; whose turn it has become meanwhile lets the next one go."""
        with self._lock:
            if waiting and waiting[0] in self._line:
                self._line.remove(waiting[0])
                return
        self.give_back()

    def give_back(self) -> None:
        """The next one may go."""
        with self._lock:
            if not self._line:
                self._free += 1
                return
            turn = self._line.popleft()
        turn()


class Pool:
    """Requests to one server. Threads may share it."""

    def __init__(
        self,
        rim: Rim,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        clock: Callable[[], float] = time.monotonic,
        at_a_time: int = _AT_A_TIME,
    ) -> None:
        self._rim = rim
        self._at_a_time = at_a_time
        self._turns = Turns(rim, at_a_time)
        self._place = host, port
        self._tls = tls
        self._clock = clock
        self._idle: list[Pipe] = []
        self._pid = os.getpid()
        self._closed = False
        self.peer: tuple[str, int] | None = None  # that a connection has reached
        self.connected = 0  # how often

    async def exchange(self, request: Request, deadline: Deadline) -> Reply:
        """The answer to a request, whatever its status."""
        self._look_for_fork()
        turns = self._turns
        await turns.take(deadline)
        try:
            return await self._exchange(request, deadline)
        finally:
            turns.give_back()

    async def _exchange(self, request: Request, deadline: Deadline) -> Reply:
        incoming, pipe = await self.open(request, deadline)
        try:
            return await incoming.whole()
        except OSError as error:
            raise _lost(error) from error
        finally:
            self._put_back(pipe, incoming)

    async def open(self, request: Request, deadline: Deadline) -> tuple[Incoming, Pipe]:
        """The head of an answer; `pieces` has the rest."""
        pipe = await self._pipe(deadline)
        incoming = Incoming(pipe, deadline)
        try:
            await _begin(pipe, incoming, request, deadline)
        except OSError as error:
            pipe.close()
            raise _lost(error) from error
        except BaseException:
            pipe.close()
            raise
        return incoming, pipe

    async def pieces(self, incoming: Incoming, pipe: Pipe) -> AsyncGenerator[bytes, None]:
        """The body of an answer that was opened; the connection goes back when it ends."""
        try:
            async for piece in incoming.pieces():
                yield piece
        except OSError as error:
            raise _lost(error) from error
        finally:
            self._put_back(pipe, incoming)

    def _look_for_fork(self) -> None:
        """What is idle, and whose turn it is, is our parent's after one."""
        if self._pid != os.getpid():
            self._pid, self._idle = os.getpid(), []
            self._turns = Turns(self._rim, self._at_a_time)

    async def _pipe(self, deadline: Deadline) -> Pipe:
        self._look_for_fork()
        while self._idle:
            try:
                pipe = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if self._clock() - pipe.since < _IDLE_S and not pipe.stale():
                return pipe
            pipe.close()
        host, port = self._place
        try:
            pipe = await self._rim.connect(host, port, self._tls, deadline)
        except (OSError, UnicodeError) as error:
            if isinstance(error, ClientError):
                raise
            raise UnavailableError(f"{host}:{port} cannot be reached: {error}.") from error
        self.peer = pipe.peer
        self.connected += 1
        return pipe

    def _put_back(self, pipe: Pipe, incoming: Incoming) -> None:
        if incoming.reusable and len(self._idle) < _AT_A_TIME and not self._closed:
            pipe.since = self._clock()
            self._idle.append(pipe)
        else:
            pipe.close()

    def close(self) -> None:
        """Every connection: those in use when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


async def _begin(pipe: Pipe, incoming: Incoming, request: Request, deadline: Deadline) -> None:
    refused: OSError | None = None
    try:
        await send(pipe, request, deadline)
    except DeadlineError:
        raise
    except OSError as error:  # it may have said why before it closed
        refused = error
    try:
        await incoming.head()
    except OSError:
        if refused is not None:
            raise refused from None
        raise


def _lost(error: OSError) -> OSError:
    if isinstance(error, ClientError):
        return error
    return LinkError(
        f"The connection was lost: {error}. Whether the call was done is unknown; it was not "
        "repeated."
    )
