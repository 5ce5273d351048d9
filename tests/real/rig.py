"""A real instance and what is needed to be hard on it: its pids, its log, clients, a journal."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from salver.build import build
from salver.calls.cluster import Cluster
from salver.calls.handle import DeploymentHandle
from salver.control.client import ControlClient
from salver.launch import Capacity, Instance
from salver.program import Application
from salver.spec.app import AppSpec
from salver.spec.controller import ControllerOptions
from salver.spec.grpc import gRPCOptions
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.logging import LoggingConfig
from salver.spec.status import AppStatus, ServeStatus
from tests.engine.rig import wait_gone

__all__ = ("Client", "Journal", "Log", "Reply", "Running", "apps", "children_of")

PATIENCE_S = 60.0
# To type checkers a decorated class is the class still.
apps: Any = import_module("tests.real.apps")


@dataclass(frozen=True)
class Reply:
    """One whole HTTP reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """One keep-alive connection. It dials when it is used first, and again after `close`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter | None = None

    async def connect(self) -> asyncio.StreamWriter:
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self.writer

    async def get(self, path: str = "/", *, body: bytes | None = None) -> Reply:
        await self.send(path, body=body)
        return await self.reply()

    async def send(self, path: str = "/", *, body: bytes | None = None) -> None:
        writer = await self.connect()
        method = "GET" if body is None else "POST"
        length = "" if body is None else f"content-length: {len(body)}\r\n"
        writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: x\r\n{length}\r\n".encode() + (body or b"")
        )
        await writer.drain()

    async def reply(self) -> Reply:
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join([chunk async for chunk in self.chunks()])
        else:
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            await self.close()
        return Reply(status, headers, body)

    async def head(self) -> tuple[int, dict[str, str]]:
        first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines if line)
        return int(first.split()[1]), {name.lower(): value for name, _, value in pairs}

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readline(), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    async def close(self) -> None:
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def cut(self) -> None:
        """Go without a word: the other side sees a reset."""
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Journal:
    """What the apps have noted, in their order. Used on one loop."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "journal")
        os.mkfifo(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self._rest = b""
        self.lines: list[str] = []
        self._grown = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def _read(self) -> None:
        *lines, self._rest = (self._rest + os.read(self._fd, 65536)).split(b"\n")
        self.lines += [line.decode() for line in lines]
        self._grown.set()

    async def until(self, *wanted: str) -> None:
        """Return when all these lines are there."""
        async with asyncio.timeout(PATIENCE_S):
            while not set(wanted) <= set(self.lines):
                self._grown.clear()
                await self._grown.wait()

    async def next(self, word: str) -> list[str]:
        """The further words of the first line that begins with this one; takes it out."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for line in self.lines:
                    first, *others = line.split()
                    if first == word:
                        self.lines.remove(line)
                        return others
                self._grown.clear()
                await self._grown.wait()

    def named(self, word: str) -> list[str]:
        """The second word of each line that begins with this one."""
        return [line.split()[1] for line in self.lines if line.startswith(word + " ")]

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


class Log:
    """What an instance writes to its stderr, read by a thread of its own."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._text = ""
        self._grown = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @contextmanager
    def as_stderr(self) -> Iterator[None]:
        """What is started in here writes to this log."""
        saved = os.dup(2)
        os.dup2(self._writer, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(self._writer)

    def _read(self) -> None:
        while data := os.read(self._reader, 65536):
            with self._grown:
                self._text += data.decode(errors="replace")
                self._grown.notify_all()

    @property
    def text(self) -> str:
        with self._grown:
            return self._text

    def wait(self, pattern: str) -> re.Match[str]:
        """The first place in the log that matches, as soon as it is there. Blocks."""
        compiled = re.compile(pattern, re.MULTILINE)

        def found() -> re.Match[str] | None:
            return compiled.search(self._text)

        with self._grown:
            match = self._grown.wait_for(found, PATIENCE_S)
        assert match, f"{pattern!r} is not in the log:\n{self._text}"
        return match

    async def until(self, pattern: str, times: int = 1) -> None:
        """Return when the log matches so often."""
        again = rf"(?:(?s:.*?){pattern})" + f"{{{times}}}"
        await asyncio.to_thread(self.wait, again)

    def close(self) -> None:
        """After the end of all who write to it."""
        self._thread.join()
        os.close(self._reader)


class Running:
    """A running instance that this process owns."""

    def __init__(self, instance: Instance, log: Log) -> None:
        self.instance = instance
        self.log = log
        self.address = instance.address
        self.secret = instance.secret()

    @classmethod
    @contextmanager
    def start(
        cls,
        capacity: Capacity | None = None,
        logging: LoggingConfig | None = None,
        grpc: gRPCOptions | None = None,
        controller: ControllerOptions | None = None,
        **settings: Any,
    ) -> Iterator[Running]:
        """Settings are those of the HTTP door."""
        log = Log()
        with log.as_stderr():
            http = HttpSettings(port=0, **settings)
            capacity = capacity or Capacity()
            instance = Instance.start(http, capacity, logging, grpc, controller).wait_bound()
        running = cls(instance, log)
        try:
            yield running
        finally:
            known = Cluster._known.get(instance.address)
            if known is not None:
                known.close()
            instance.kill()
            log.close()

    @property
    def port(self) -> int:
        return self.instance.keeper.addresses["http"][1]

    def client(self) -> Client:
        return Client(self.port)

    @asynccontextmanager
    async def control(self) -> AsyncIterator[ControlClient]:
        client = await ControlClient.dial(self.address, self.secret)
        try:
            yield client
        finally:
            client.close()
            await client.wait_closed()

    async def deploy(
        self, app: Application | AppSpec, name: str = "app", route: str | None = "/"
    ) -> AppStatus:
        """Returns when it runs, or has failed."""
        spec = build(app, name, route) if isinstance(app, Application) else app
        async with self.control() as control, asyncio.timeout(PATIENCE_S):
            await control.deploy(spec)
            return await control.wait(spec.name)

    async def wait(self, name: str = "app") -> AppStatus:
        async with self.control() as control, asyncio.timeout(PATIENCE_S):
            return await control.wait(name)

    async def status(self) -> ServeStatus:
        async with self.control() as control:
            return await control.status()

    async def until_event(self, state: str, subject: str = "", after: float = 0.0) -> str:
        """The message of the first such event after that time."""
        async with self.control() as control, asyncio.timeout(PATIENCE_S):
            async for event in control.events():
                if event.state == state and subject in event.subject and event.at > after:
                    return event.message
        raise AssertionError("the controller ended")

    def handle(self, deployment: str, app: str = "app") -> DeploymentHandle[Any]:
        return DeploymentHandle(DeploymentId(deployment, app), self.address)

    @property
    def keeper(self) -> int:
        return self.instance.keeper.pid

    def pids(self, name: str) -> list[int]:
        """By what the process is called: ingress, controller, or the name of a deployment."""
        return children_of(self.keeper).get(name, [])

    def kill(self, name: str) -> int:
        """Kill the first of these processes; its pid. It is dead when this returns."""
        pid = self.pids(name)[0]
        os.kill(pid, signal.SIGKILL)
        wait_gone(pid)
        return pid


def children_of(keeper: int) -> dict[str, list[int]]:
    """Pids of living children by their names."""
    found: dict[str, list[int]] = {}
    for child in Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
        with suppress(OSError):
            comm = Path(f"/proc/{child}/comm").read_text().strip().removeprefix("salver:")
            if "State:\tZ" in Path(f"/proc/{child}/status").read_text():
                continue  # dead, and not yet reaped
            found.setdefault("controller" if comm == "controll" else comm, []).append(int(child))
    return found
