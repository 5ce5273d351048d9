"""What one process knows of one instance of Salver: its loop, its routers, its directory."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import threading
from _thread import get_ident
from asyncio import _get_running_loop
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakSet

import uvloop

from salver.calls.context import request_ids
from salver.calls.directory import Directory
from salver.calls.inbox import Inbox
from salver.calls.router import Router
from salver.calls.routers import Routers
from salver.errors import SalverError
from salver.spec.ids import DeploymentId
from salver.wire.connection import FrameHandler
from salver.wire.messages import Hello
from salver.wire.streams import Dialler

__all__ = ("Cluster",)

_EXIT_S = 5.0  # how long the end of the interpreter waits for the thread


class Cluster:
    """One process's side of one instance. Made on its home loop, or by `Cluster.at` elsewhere."""

    # What a handle, which may arrive pickled anywhere in a process, can start from.
    _known: ClassVar[dict[str, Cluster]] = {}
    _apart: ClassVar[WeakSet[Cluster]] = WeakSet()
    _lock: ClassVar[threading.Lock] = threading.Lock()
    _own: ClassVar[Cluster | None] = None
    _hooked: ClassVar[bool] = False

    def __init__(
        self,
        address: str,
        loop: asyncio.AbstractEventLoop,
        *,
        secret: bytes,
        name: str = "",
        role: str = "caller",
        dialler: Dialler | None = None,
        watch: bool = True,
    ) -> None:
        """`address` is the runtime directory ("memory:..." for the inline engine, with `dialler`).

        `watch=False`: no control link; whoever made it feeds `directory.apply(delta)` itself.
        """
        self.address = address
        self.loop = loop
        self.secret = secret
        self.name = name or f"{role}-{os.getpid()}-{secrets.token_hex(3)}"
        self.role = role
        self.dialler = dialler or Dialler()
        self._owns_dialler = dialler is None
        self.directory = Directory(self)
        self.routers = Routers(lambda deployment, eager: Router(deployment, self, eager=eager))
        self.closed = False  # of no use any more: closed, or left behind by a fork
        self._watch = watch
        self._inbox = Inbox(loop)
        self._inboxes: dict[asyncio.AbstractEventLoop, Inbox] = {}
        self.new_request_id = request_ids(self.name)
        self._numbers = count(1)
        self._thread: threading.Thread | None = None
        self._home = 0  # the thread that the home loop has for itself; 0: not known to have one

    def __repr__(self) -> str:
        return f"<Cluster {self.name} of {self.address}{' closed' if self.closed else ''}>"

    # ---- which one

    @classmethod
    def at(cls, address: str) -> Cluster:
        """This process's cluster for that instance; made on first use, with its own thread."""
        cluster = cls._known.get(address)
        if cluster is not None and not cluster.closed:
            return cluster
        with cls._lock:
            cluster = cls._known.get(address)
            if cluster is None or cluster.closed:
                cluster = cls._in_thread(address)
                cls._remember(cluster)
            return cluster

    @classmethod
    def apart(cls, address: str) -> Cluster:
        """One for whoever made it, and closes it: `at` does not know it."""
        cluster = cls._in_thread(address)
        with cls._lock:
            cls._apart.add(cluster)
            cls._hook()
        return cluster

    def adopt(self, *, for_good: bool = False) -> None:
        """Be what `Cluster.at(address)` gives in this process (replicas, ingress, inline).

        `for_good`: this thread runs the home loop from now on, and nothing else.
        """
        if for_good:
            self._home = get_ident()
        with self._lock:
            self._remember(self)
            Cluster._own = self

    @classmethod
    def here(cls) -> Cluster | None:
        """The cluster that this process adopted: that of the replica or the door that it is."""
        own = cls._own
        return None if own is None or own.closed else own

    @classmethod
    def _remember(cls, cluster: Cluster) -> None:
        cls._known[cluster.address] = cluster
        cls._hook()

    @classmethod
    def _hook(cls) -> None:
        if not cls._hooked:
            cls._hooked = True
            os.register_at_fork(after_in_child=cls._after_fork)

    @classmethod
    def _after_fork(cls) -> None:
        """The parent's loops, threads and sockets are not the child's: let it make its own."""
        for cluster in (*cls._known.values(), *cls._apart):
            cluster.closed = True
            cluster._home = -1
        cls._known = {}
        cls._apart = WeakSet()
        cls._own = None
        cls._lock = threading.Lock()

    @classmethod
    def _in_thread(cls, address: str) -> Cluster:
        try:
            secret = Path(address, "secret").read_bytes()
        except OSError as error:
            raise SalverError(
                f"No Salver instance can be reached at {address!r} ({error.strerror}). It has "
                "stopped, or this handle belongs to an app that runs inside another process."
            ) from None
        loop = uvloop.new_event_loop()
        cluster = cls(address, loop, secret=secret, role="client")
        cluster._thread = threading.Thread(target=_run, args=(cluster,), name="salver", daemon=True)
        cluster._thread.start()
        atexit.register(cluster.close)
        cluster.post(Cluster.start, cluster)
        return cluster

    # ---- from other threads

    def post(self, function: Callable[[Any], object], item: Any) -> None:
        """Have `function(item)` called on the home loop."""
        self.check()
        self._inbox.put(function, item)

    def at_home(self) -> bool:
        """Whether the home loop runs this code. (asyncio's own answer is a system call dearer.)"""
        home = self._home
        return get_ident() == home if home else _get_running_loop() is self.loop

    def run(self, function: Callable[[Any], object], item: Any) -> None:
        """The same as `post`, at once where this is the home loop."""
        if self.at_home():
            function(item)
        else:
            self.post(function, item)

    def inbox_of(self, loop: asyncio.AbstractEventLoop) -> Inbox:
        """Where to put what another loop of this process is to do."""
        inbox = self._inboxes.get(loop)
        if inbox is None:
            with self._lock:
                open_ones = {k: v for k, v in self._inboxes.items() if not k.is_closed()}
                inbox = open_ones.setdefault(loop, Inbox(loop))
                self._inboxes = open_ones
        return inbox

    def check(self) -> None:
        """RuntimeError: this is of no use any more."""
        if self.closed:
            raise RuntimeError(
                f"The link to the Salver instance at {self.address!r} is closed: the instance has "
                "stopped, or this process was forked from the one that held the link."
            )

    # ---- the parts

    def router(self, deployment: DeploymentId, *, eager: bool = False) -> Router:
        """The router of a deployment in this process."""
        router = self.routers.get(deployment)
        if router is None:
            router, new = self.routers.find(deployment, eager=eager)
            if new:
                self.run(self._introduce, router)
        return router

    def _introduce(self, router: Router) -> None:
        """Tell a new router what is known already."""
        self.start()
        view = self.directory.views.get(router.deployment)
        if view is not None:
            self.directory.show(view, router)
        for facts in self.directory.facts_of(router.deployment):
            router.learn(facts)

    def start(self) -> None:
        """Watch the controller from now on. Home loop only; done by the first use, too."""
        if self._watch and not self.closed:
            self.directory.start()

    def next_name(self) -> str:
        """A name for one connection: no other of this instance has it."""
        return f"{self.name}.{next(self._numbers)}"

    async def dial(self, address: str, handler: FrameHandler, name: str) -> None:
        """Connect to a replica."""
        hello = Hello(self.secret, self.role, name, os.getpid())
        await self.dialler.dial(address, handler, hello, self.secret)

    async def dial_control(self, handler: FrameHandler) -> None:
        """Connect to the controller, or wait until there is one again that answers.

        OSError: nobody holds the control socket any more, so the instance is gone.
        """
        hello = Hello(self.secret, self.role, self.next_name(), os.getpid())
        address = f"unix:{self.address}/control.sock"
        await self.dialler.dial(address, handler, hello, self.secret, patient=True)

    # ---- the end

    def lost(self) -> None:
        """The instance is no more. Home loop only."""
        self._shut(f"The Salver instance at {self.address!r} is not running any more.")

    def close(self) -> None:
        """Close every link; calls that wait fail. Ends the thread, if there is one."""
        thread = self._thread
        if not self.closed:
            with suppress(RuntimeError):  # the loop is closed, and everything with it
                self.run(self._shut, "This process has closed its link to the instance.")
        if thread is not None and thread is not threading.current_thread() and thread.is_alive():
            thread.join(_EXIT_S)

    async def aclose(self) -> None:
        """Close every link, on the home loop, and leave nothing behind."""
        self.close()
        await asyncio.sleep(0)  # transports end in the tick after `close`
        if self._owns_dialler:
            self.dialler.close()

    def _shut(self, why: str) -> None:
        if self.closed:
            return
        self.closed = True
        self.directory.close()
        for router in self.routers.all():
            router.close(why)
        with self._lock:
            if self._known.get(self.address) is self:
                del self._known[self.address]
            if Cluster._own is self:
                Cluster._own = None
        if self._thread is not None:
            atexit.unregister(self.close)
            # Not before what was written just now has left.
            self.loop.call_soon(self.loop.stop)


def _run(cluster: Cluster) -> None:
    """The thread of a cluster outside a replica: a loop until it is stopped, then nothing left."""
    loop = cluster.loop
    try:
        loop.run_forever()
        loop.run_until_complete(_leave_nothing())
    finally:
        cluster.dialler.close()
        loop.close()


async def _leave_nothing() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # transports end in the tick after `close`
