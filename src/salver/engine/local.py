"""The engine of one machine: asks the keeper for processes, keeps the books of what they use."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec

from salver.core.ports import Exit, ProcessSpec, ProcessStatus, Resources
from salver.engine.devices import Devices, Grant
from salver.engine.machine import Machine
from salver.engine.messages import (
    Answers,
    Died,
    Drain,
    Drained,
    DrainLimit,
    FromController,
    FromKeeper,
    Listed,
    ListProcesses,
    Living,
    Refused,
    Started,
    StartProcess,
    StopProcess,
)
from salver.errors import EngineError

__all__ = ("LocalEngine",)

MESSAGE: Final = 1 << 20
GRANT: Final = "salver.grant"  # the label in which a process carries what it was given


class LocalEngine:
    """Implements `core.ports.Engine` from within the controller's process."""

    def __init__(self, keeper: socket.socket, machine: Machine) -> None:
        keeper.setblocking(False)
        self._keeper = keeper
        buffer = keeper.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._limit = min(buffer - 32, MESSAGE)  # what the kernel takes as one datagram
        self._devices = Devices(machine)
        self._refs = itertools.count(1)
        self._starts: dict[int, asyncio.Future[None]] = {}
        self._lists: dict[int, tuple[list[ProcessStatus], asyncio.Future[list[ProcessStatus]]]] = {}
        self._exits: asyncio.Queue[Exit] = asyncio.Queue()
        self._unsent: deque[bytes] = deque()
        self._decoder = msgspec.msgpack.Decoder(FromKeeper)
        self._on_drain: Callable[[], None] | None = None
        self._drain_asked = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(keeper.fileno(), self._read)

    # ---- the port

    async def start(self, *processes: ProcessSpec) -> None:
        grants = self._devices.take_all({p.id: p.resources for p in processes})
        await asyncio.gather(*(self._start(p, grants[p.id]) for p in processes))

    async def _start(self, process: ProcessSpec, grant: Grant) -> None:
        ref = next(self._refs)
        future: asyncio.Future[None] = self._loop.create_future()
        self._starts[ref] = future
        try:
            self._send(StartProcess(ref, self._equip(process, grant)))
            await future
        except EngineError:
            self._starts.pop(ref, None)
            self._devices.give_back(process.id)
            raise

    async def stop(self, process_id: str, *, force: bool = False) -> None:
        self._send(StopProcess(process_id, force))

    async def list(self) -> list[ProcessStatus]:
        ref = next(self._refs)
        future: asyncio.Future[list[ProcessStatus]] = self._loop.create_future()
        self._lists[ref] = ([], future)
        self._send(ListProcesses(ref))
        return await future

    async def exits(self) -> AsyncIterator[Exit]:
        while True:
            yield await self._exits.get()

    async def capacity(self) -> tuple[Resources, Resources]:
        return self._devices.total, self._devices.free

    def fits(self, resources: Resources) -> bool:
        return self._devices.fits(resources)

    # ---- the beginning and the end of the instance

    def answers(self) -> None:
        self._send(Answers())

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Called when the owner wants to stop: drain, then say `drained`."""
        self._on_drain = callback
        if self._drain_asked:  # the owner was quicker than the controller
            callback()

    def drain_limit(self, seconds: float) -> None:
        self._send(DrainLimit(seconds))

    def drained(self) -> None:
        self._send(Drained())

    def close(self) -> None:
        self._loop.remove_reader(self._keeper.fileno())
        self._loop.remove_writer(self._keeper.fileno())
        self._keeper.close()

    # ---- inside

    def _equip(self, process: ProcessSpec, grant: Grant) -> ProcessSpec:
        """The spec with the devices it was given, and a label so that this is not forgotten."""
        env = dict(process.env)
        if self._devices.machine.gpus:
            env["CUDA_VISIBLE_DEVICES"] = grant.visible_devices
        labels = {**process.labels, GRANT: msgspec.json.encode(grant).decode()}
        return msgspec.structs.replace(process, env=env, labels=labels)

    def _send(self, message: FromController) -> None:
        data = msgspec.msgpack.encode(message)
        if len(data) > self._limit:  # it would never leave, nor would what comes after it
            raise EngineError(
                f"What the process is to be given takes {len(data)} bytes, and {self._limit} is "
                "the most. Give it a file in place of large env_vars."
            )
        self._unsent.append(data)
        if len(self._unsent) == 1:
            self._write()

    def _write(self) -> None:
        while self._unsent:
            try:
                self._keeper.send(self._unsent[0])
            except BlockingIOError:
                self._loop.add_writer(self._keeper.fileno(), self._write)
                return
            except OSError:
                return  # the keeper is dead, and so shall we be
            self._unsent.popleft()
        self._loop.remove_writer(self._keeper.fileno())

    def _read(self) -> None:
        try:
            data = self._keeper.recv(MESSAGE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._keeper.fileno())
            return
        self._heard(self._decoder.decode(data))

    def _heard(self, message: FromKeeper) -> None:
        match message:
            case Started(ref):
                self._starts.pop(ref).set_result(None)
            case Refused(ref, text):
                self._starts.pop(ref).set_exception(EngineError(text))
            case Living(ref, status):
                self._lists[ref][0].append(status)
                if grant := status.labels.get(GRANT):
                    self._devices.restore(status.id, msgspec.json.decode(grant, type=Grant))
            case Listed(ref):
                found, future = self._lists.pop(ref)
                future.set_result(found)
            case Died(exit_):
                self._devices.give_back(exit_.id)
                self._exits.put_nowait(exit_)
            case Drain():
                self._drain_asked = True
                if self._on_drain is not None:
                    self._on_drain()
