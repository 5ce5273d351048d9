"""A call made by a handle: what responses and streams have in common."""

from __future__ import annotations

import asyncio
from _thread import allocate_lock
from asyncio import _get_running_loop
from collections.abc import Callable, Generator
from contextlib import suppress
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any, Final

from salver.calls.call import DONE, QUEUED, Call
from salver.calls.context import Child, pack_meta, request_id_of, unpack_meta
from salver.calls.splice import Encoded, decode_call, splice
from salver.wire.frames import META, REQ, STREAM
from salver.wire.messages import Meta
from salver.wire.payload import Segments

if TYPE_CHECKING:
    from salver.calls.cluster import Cluster
    from salver.calls.link import Link
    from salver.calls.router import Router

__all__ = ("HandleCall", "encoded")

Waiter = asyncio.Future[None] | Callable[[], object]

_NO_LOOP_HERE: Final = (
    "{what} blocks, and an event loop runs in this thread: it would stand still and the answer "
    "could never arrive. Use `{instead}` here."
)


def encoded(payload: bytes | Segments | Encoded) -> Encoded:
    """A payload, received or to be sent, as inline bytes and buffers."""
    if isinstance(payload, bytes):
        return payload, []
    return payload if isinstance(payload, tuple) else (payload.inline, payload.buffers)


class HandleCall(Call):
    """A call that code made and may wait for: on the home loop, on another loop, in a thread.

    The home loop sets `state = DONE` first and looks at `waiters` after; whoever waits appends
    first and looks at `state` after. So nobody is forgotten, without a lock.
    """

    __slots__ = (
        "_cancelled", "_children", "_keys", "_meta", "_method", "_payload", "_waiters",
    )  # fmt: skip

    router: Router
    _keys: tuple[str, str]

    def __init__(
        self,
        router: Router,
        method: str,
        payload: bytes | Encoded,
        meta: bytes,
        children: set[Child] | None,
        streaming: bool = False,
    ) -> None:
        self.router = router
        self.link = None
        self.call_id = 0
        self.ticket = 0
        self.state = QUEUED
        self.streaming = streaming
        self._method = method
        self._payload = payload
        self._meta = meta
        self._children = children
        self._cancelled = False
        self._waiters: list[Waiter] = []
        if children is not None:
            children.add(self)

    # ---- towards the replica

    def send(self, link: Link, call_id: int) -> None:
        """Write the REQ frame."""
        aux = link.names.get(self._method)
        if aux is None:
            aux = link.introduce(self._method)
        payload = self._payload
        meta = self._meta
        flags = STREAM if self.streaming else 0
        if meta:
            flags |= META
        if isinstance(payload, bytes):
            link.conn.send(REQ, flags, aux, call_id, meta + payload if meta else payload)
        else:
            inline, buffers = payload
            link.conn.send_parts(REQ, flags, aux, call_id, meta + inline, buffers)

    @property
    def cluster(self) -> Cluster:
        return self.router.cluster

    @property
    def by_reference(self) -> bool:
        """Always: as an argument of another call its result goes there undecoded."""
        return True

    @property
    def method(self) -> str:
        return self._method

    @property
    def route(self) -> str:
        return self._unpacked().route

    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        payload = self._payload
        return decode_call(payload if isinstance(payload, bytes) else Segments(*payload))

    @property
    def model_id(self) -> str:
        return self._asked()[0]

    @property
    def session_id(self) -> str:
        return self._asked()[1]

    def _asked(self) -> tuple[str, str]:
        """Model and session. Read when a router wants them, for most do not."""
        try:
            return self._keys
        except AttributeError:
            meta = self._unpacked()
            self._keys = meta.model_id, meta.session_id
            return self._keys

    def _unpacked(self) -> Meta:
        return unpack_meta(self._meta)[0] if self._meta else Meta()

    @property
    def request_id(self) -> str:
        """The id of the request that this call serves, as the callee's logs show it."""
        meta = self._unpacked()
        if meta.request_id:
            return meta.request_id
        link = self.link
        if self.state != QUEUED and link is not None:
            return request_id_of(link.name, self.call_id)
        # Not sent yet: give it an id of its own, to be carried along.
        request_id = self.cluster.new_request_id()
        self._meta = pack_meta(
            Meta(request_id, meta.app, meta.route, meta.model_id, meta.session_id)
        )
        return request_id

    def begin(self) -> None:
        """Submit the call, on the home loop; it may have been cancelled on the way there."""
        if self.state == QUEUED:
            self.router.submit(self)

    # ---- the end

    def _done(self) -> None:
        """Nothing further happens to this call: let go of what it held, wake who waits."""
        self.state = DONE
        self._payload = b""
        if self._children is not None:
            self._children.discard(self)
        if self._waiters:
            self._wake()

    def _wake(self) -> None:
        waiters = self._waiters
        while waiters:
            waiter = waiters.pop(0)
            if isinstance(waiter, asyncio.Future):
                if not waiter.done():
                    waiter.set_result(None)
            else:
                waiter()

    def cancel(self) -> None:
        """Cancel the call, and with it the calls that it has made. Harmless when it is done."""
        self._cancelled = True
        if self.state == DONE:
            return
        cluster = self.router.cluster
        if cluster.at_home():
            self._drop()
        else:
            cluster.post(HandleCall._drop, self)

    def cancelled(self) -> bool:
        """Whether `cancel` was called. (It may have run to its end all the same.)"""
        return self._cancelled

    def _drop(self) -> None:
        """Cancel, on the home loop."""
        if self.state != DONE:
            self.router.cancel(self)
            self._give_up()

    def _give_up(self) -> None:
        """End it as cancelled."""
        raise NotImplementedError

    def failure(self) -> bytes | Segments | BaseException | None:
        """Why it ended, if not well; bytes: the callee's exception, not decoded."""
        raise NotImplementedError

    # ---- waiting

    def _wait(self) -> Generator[Any, None, None]:
        """Wait on the running loop, whichever it is, for the end or the next item.

        A cancelled task cancels the call, unless somebody else still waits for it.
        """
        loop = asyncio.get_running_loop()
        waiter: Waiter
        future: asyncio.Future[None] = loop.create_future()
        cluster = self.router.cluster
        if loop is cluster.loop:
            waiter = future
        else:
            inbox = cluster.inbox_of(loop)

            def waiter() -> None:
                inbox.put(_resolve, future)

        self._waiters.append(waiter)
        if self._arrived():
            self._leave(waiter)
            return
        try:
            yield from future
        except asyncio.CancelledError:
            self._leave(waiter)
            if not self._waiters:
                self.cancel()
            raise

    def _block(
        self, timeout_s: float | None, what: str, instead: str, *, check: bool = True
    ) -> bool:
        """Wait in a thread without a loop; whether it came in time."""
        if check and _get_running_loop() is not None:
            raise RuntimeError(_NO_LOOP_HERE.format(what=what, instead=instead))
        self.router.cluster.check()
        lock = allocate_lock()
        lock.acquire()
        waiter = lock.release
        self._waiters.append(waiter)
        limit = -1 if timeout_s is None else min(max(timeout_s, 0), TIMEOUT_MAX)
        came = self._arrived() or lock.acquire(timeout=limit)
        self._leave(waiter)
        return came or self._arrived()

    def _arrived(self) -> bool:
        """Whether there is no need to wait."""
        return self.state == DONE

    def _leave(self, waiter: Waiter) -> None:
        with suppress(ValueError):  # it was woken
            self._waiters.remove(waiter)

    # ---- arguments that are results of other calls

    def submit_after(
        self, upstreams: list[HandleCall], submit: Callable[[HandleCall], object] | None = None
    ) -> None:
        """Submit the call once these are done, their results among its arguments."""
        send = submit or self.router.submit
        cluster = self.router.cluster
        sent = False

        def look(_: object = None) -> None:
            nonlocal sent
            if not sent and self.state != DONE and all(u.state == DONE for u in upstreams):
                sent = True
                if self._splice(upstreams):
                    send(self)

        for upstream in upstreams:
            upstream._waiters.append(lambda: cluster.run(look, None))
        cluster.run(look, None)

    def _splice(self, upstreams: list[HandleCall]) -> bool:
        """Put the results in; False: one of them failed, and the call with it."""
        parts = [encoded(self._payload)]
        for upstream in upstreams:
            try:
                result = upstream.encoded_result()
            except Exception as error:  # noqa: BLE001 - the user's object, which has changed since
                self.failed(error)
                return False
            if result is None:
                self._fail_like(upstream)
                return False
            parts.append(result)
        self._payload = splice(parts)
        return True

    def _fail_like(self, upstream: HandleCall) -> None:
        error = upstream.failure()
        if isinstance(error, BaseException):
            self.failed(error)
        elif error is not None:
            self.errored(error)

    def encoded_result(self) -> Encoded | None:
        """The result as it came; None: it failed."""
        raise NotImplementedError


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
