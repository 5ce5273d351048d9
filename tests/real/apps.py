"""What the tests of this folder deploy. Every app writes what it does to a journal (see rig.py)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

from starlette.requests import Request

import salver
from salver.calls.handle import DeploymentHandle


class Journal:
    """Lines for the test to read; what was written stays, even if the writer is killed now."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY)

    def __call__(self, *words: object) -> None:
        os.write(self._fd, (" ".join(map(str, words)) + "\n").encode())


@salver.deployment(num_replicas=2, max_ongoing_requests=8)
class Recorder:
    """Notes each request before it does anything else, then takes its time."""

    def __init__(self, journal: str) -> None:
        self.note = Journal(journal)

    async def __call__(self, request: Request) -> str:
        return await self.work(request.query_params["id"])

    async def work(self, name: str) -> str:
        self.note("begun", name)
        await asyncio.sleep(0.01)
        return name


@salver.deployment(num_replicas=2, max_ongoing_requests=8)
class InThread:
    """The same as `def`, in threads."""

    def __init__(self, journal: str) -> None:
        self.note = Journal(journal)

    def __call__(self, request: Request) -> str:
        return self.work(request.query_params["id"])

    def work(self, name: str) -> str:
        self.note("begun", name)
        time.sleep(0.01)
        return name


@salver.deployment(num_replicas=2, max_ongoing_requests=1)
class Alone:
    """Tells how many requests it has had at once, at most."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    async def __call__(self, *_: Any) -> int:
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(0.002)
        self.now -= 1
        return self.peak


@salver.deployment(num_replicas=2, max_ongoing_requests=1)
class ThreadedAlone:
    """The same as `def`."""

    def __init__(self) -> None:
        self.now = self.peak = 0
        self.lock = threading.Lock()

    def __call__(self, *_: Any) -> int:
        with self.lock:
            self.now += 1
            self.peak = max(self.peak, self.now)
        time.sleep(0.002)
        with self.lock:
            self.now -= 1
        return self.peak


@salver.deployment(max_ongoing_requests=64)
class Relay:
    """Passes requests on to another deployment."""

    def __init__(self, other: DeploymentHandle[Any]) -> None:
        self.other = other

    async def __call__(self, *_: Any) -> Any:
        return await self.other.remote()


@salver.deployment(user_config="first")
class Tuned:
    """Answers with its configuration; `child` is what its child answers."""

    def __init__(self, journal: str, child: DeploymentHandle[Any] | None = None) -> None:
        self.note = Journal(journal)
        self.note("made", os.getpid())
        self.child = child
        self.config = ""

    def reconfigure(self, config: str) -> None:
        if config == "bad":
            raise ValueError("no such configuration")
        self.config = config

    async def __call__(self, *_: Any) -> str:
        await asyncio.sleep(0.005)
        return self.config if self.child is None else f"{self.config} {await self.child.remote()}"


@salver.deployment(num_replicas=2)
class Rooted:
    """Says below which path it sees itself."""

    def __init__(self, journal: str) -> None:
        Journal(journal)("made", os.getpid())

    def __call__(self, request: Request) -> str:
        return str(request.scope["root_path"])


@salver.deployment
class Patient:
    """Requests wait at the gate of their name until it is opened; `/` is answered at once.

    With a child deployment they wait for a call there; those named "apart..." make it, and wait at
    their own gate.
    """

    def __init__(self, journal: str, child: DeploymentHandle[Any] | None = None) -> None:
        self.note = Journal(journal)
        self.child = child
        self.gates: dict[str, asyncio.Event] = {}

    async def __call__(self, request: Request) -> str:
        name = request.query_params.get("id", "")
        return await self.wait(name) if name else "here"

    async def wait(self, name: str) -> str:
        self.note("begun", name)
        try:
            child = self.child.wait.remote(f"{name}-child") if self.child is not None else None
            if child is not None and not name.startswith("apart"):
                await child
            else:
                await self.gates.setdefault(name, asyncio.Event()).wait()
        except asyncio.CancelledError:
            self.note("cancelled", name)
            raise
        self.note("done", name)
        return name

    async def open(self, name: str) -> None:
        self.gates.setdefault(name, asyncio.Event()).set()


@salver.deployment
class Gated:
    """Answers when the fifo has been opened from the other side; as a whole, or as a stream."""

    def __init__(self, journal: str, fifo: str) -> None:
        self.note = Journal(journal)
        self.fifo = fifo

    async def __call__(self, request: Request) -> Any:
        self.note("begun")
        if "stream" in request.query_params:
            return self.stream()
        return "".join([part async for part in self.stream()])

    async def stream(self) -> AsyncIterator[str]:
        yield "first,"
        await asyncio.to_thread(lambda: os.close(os.open(self.fifo, os.O_RDONLY)))
        yield "last"
        self.note("done")


@salver.deployment
class Constructed:
    """Is there when the fifo has been opened from the other side."""

    def __init__(self, journal: str, fifo: str) -> None:
        Journal(journal)("begun")
        os.close(os.open(fifo, os.O_RDONLY))

    def __call__(self) -> str:
        return "there"


@salver.deployment(num_replicas=2)
class Blocking:
    """`?block=fifo` blocks the whole event loop of one replica until the fifo is opened.

    The others note their ids.
    """

    def __init__(self, journal: str) -> None:
        self.note = Journal(journal)

    async def __call__(self, request: Request) -> str:
        fifo = request.query_params.get("block")
        if fifo:
            self.note("begun", os.getpid())
            os.close(os.open(fifo, os.O_RDONLY))
        else:
            self.note("did", request.query_params["id"])
        return str(os.getpid())


@salver.deployment(max_ongoing_requests=100)
class Streamer:
    """An endless stream of large pieces, as fast as they are taken."""

    def __init__(self, journal: str) -> None:
        self.note = Journal(journal)
        self.sent = 0

    async def __call__(self, request: Request) -> AsyncIterator[bytes]:
        piece = bytes(int(request.query_params["size"]))
        try:
            while True:
                self.sent += 1
                yield piece
                if self.sent in (1, 8):
                    self.note("sent", self.sent)
        finally:
            self.note("closed")

    async def count(self) -> int:
        return self.sent


@salver.deployment
class Parent:
    """Starts a process in a session of its own; a stranger has not even our variables."""

    def __init__(self, journal: str, *, stranger: bool) -> None:
        note = Journal(journal)
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            start_new_session=True,
            env={"PATH": os.environ["PATH"]} if stranger else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        note("pids", os.getpid(), child.pid)

    def __call__(self, _request: Request) -> str:
        return "here"


@salver.deployment(max_constructor_retry_count=1)
class Doomed:
    """Ends in its constructor, in the way that it is told."""

    def __init__(self, how: str) -> None:
        if how == "raise":
            raise ValueError("no weights in this constructor")
        if how == "exit":
            os._exit(3)
        if how == "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        if how == "abort":
            os.abort()


@salver.deployment(max_ongoing_requests=100)
class Plain:
    """Answers, and tells what it sees."""

    def __call__(self, request: Request) -> str:
        return "plain"

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def say(self, text: str) -> None:
        print(text)
        print(text + " as an error", file=sys.stderr)

    def leave(self, code: int) -> None:
        os._exit(code)


@salver.deployment(max_ongoing_requests=100)
class Quick:
    """Answers at once; `hold` does not, and `items` come by and by."""

    async def __call__(self, request: Request) -> bytes:
        return await request.body() or b"quick"

    async def hold(self) -> None:
        await asyncio.Event().wait()

    async def items(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    def threaded(self, count: int) -> Iterator[int]:
        yield from range(count)

    async def pid(self) -> int:
        return os.getpid()


@salver.deployment(num_replicas=2, gang_scheduling_config={"gang_size": 2})
class Ganged:
    """Constructed when all of its gang are: rank 0 opens a pipe to each of the others."""

    def __init__(self, folder: str) -> None:
        gang = salver.get_replica_context().gang_context
        assert gang is not None
        self.gang = gang
        for rank in range(1, gang.world_size) if gang.rank == 0 else (gang.rank,):
            pipe = f"{folder}/{gang.gang_id}-{rank}"
            with suppress(FileExistsError):
                os.mkfifo(pipe)
            os.close(os.open(pipe, os.O_RDONLY if gang.rank == 0 else os.O_WRONLY))

    def seen(self) -> dict[str, Any]:
        context = salver.get_replica_context()
        return {
            "pid": os.getpid(),
            "gang": self.gang.gang_id,
            "rank": self.gang.rank,
            "size": self.gang.world_size,
            "own": self.gang.member_replica_ids[self.gang.rank] == context.replica_tag,
        }


@salver.deployment
@salver.endpoint(name="twice")
def twice(x: float) -> float:
    """A model, and nothing else: without it there is no replica."""
    return 2 * x
