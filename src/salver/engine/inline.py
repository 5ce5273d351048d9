"""The engine without processes: every replica is a host in this very loop.

For tests, notebooks and debuggers. The controller, the frames and the hosts are those of the other
engines; only fork, exit causes and isolation are missing. Calls go through memory streams.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

from salver.calls.cluster import Cluster
from salver.core.ports import Exit, ProcessSpec, ProcessStatus, Resources
from salver.engine.devices import Devices
from salver.engine.machine import Machine
from salver.errors import EngineError, SalverError
from salver.replica.figures import autoscaling_stats
from salver.replica.host import Host
from salver.replica.inference import learn, statistics
from salver.replica.metrics import families_of
from salver.replica.told import told
from salver.spec.ids import ReplicaId
from salver.spec.start import Attachment, Change, Place, StartSpec
from salver.spec.status import ReplicaFacts
from salver.telemetry.registry import Family

__all__ = ("Attach", "InlineEngine", "InlinePeer")


class InlinePeer:
    """The controller's line to a host in its own loop: what `replica.main` does with a real one."""

    def __init__(self, host: Host) -> None:
        self.is_open = True
        self._host = host

    async def call(self, method: str, body: Any = None) -> Any:
        """Errors are told as a real line tells them: in words."""
        if not self.is_open:
            raise ConnectionError("The replica has ended.")
        try:
            return await _METHODS[method](self._host, body)
        except SalverError:
            raise
        except Exception as error:
            raise SalverError(told(error)) from error


async def _start(host: Host, spec: StartSpec) -> None:
    await host.start(spec)


async def _reconfigure(host: Host, change: Change) -> None:
    await host.reconfigure(change)


async def _place(host: Host, place: Place) -> None:
    await host.place(place)


async def _drain(host: Host, body: dict[str, Any]) -> bool:
    return await host.drain(body["timeout_s"])


async def _check_health(host: Host, body: dict[str, Any]) -> bool:
    return await host.check_health(body["timeout_s"])


async def _metrics(host: Host, _: Any) -> list[Family]:
    return families_of(host)


async def _autoscaling_stats(host: Host, _: Any) -> Any:
    return await autoscaling_stats(host)


async def _learn(host: Host, body: Any) -> None:
    learn(host, body)


async def _statistics(host: Host, _: Any) -> Any:
    return statistics(host)


_METHODS: Final[dict[str, Callable[[Host, Any], Any]]] = {
    "start": _start,
    "reconfigure": _reconfigure,
    "place": _place,
    "drain": _drain,
    "check_health": _check_health,
    "metrics": _metrics,
    "inference": _learn,
    "model_statistics": _statistics,
    "autoscaling_stats": _autoscaling_stats,
}


class Attach(Protocol):
    """How a replica reports to the controller."""

    def __call__(self, replica: Attachment, peer: InlinePeer) -> None: ...


class InlineEngine:
    """Implements `core.ports.Engine`. Its cluster's dialler needs a memory hub."""

    def __init__(self, cluster: Cluster, machine: Machine) -> None:
        self._cluster = cluster
        self._devices = Devices(machine)
        self._attach: Attach | None = None
        self._describe: Callable[[ReplicaFacts], None] | None = None
        self._living: dict[str, tuple[ProcessSpec, Host, InlinePeer]] = {}
        self._exits: asyncio.Queue[Exit] = asyncio.Queue()

    def connect(self, attach: Attach, describe: Callable[[ReplicaFacts], None]) -> None:
        """Where new replicas report, and what they say of themselves."""
        self._attach = attach
        self._describe = describe

    # ---- the port

    async def start(self, *processes: ProcessSpec) -> None:
        self._devices.take_all({p.id: p.resources for p in processes})
        for process in processes:
            await self._start(process)

    async def _start(self, process: ProcessSpec) -> None:
        if process.kind != "replica" or self._attach is None:
            self._devices.give_back(process.id)
            raise EngineError(f"No place for a process of kind {process.kind!r} in this process.")
        host = Host(
            process.id,
            address=f"memory:{ReplicaId.parse(process.id).unique_id}",
            dialler=self._cluster.dialler,
            secret=self._cluster.secret,
            cluster=self._cluster,
        )
        host.facts.tell = self._describe
        peer = InlinePeer(host)
        self._living[process.id] = (process, host, peer)
        address = await host.listen()
        asyncio.get_running_loop().call_soon(self._attach, Attachment(process.id, address), peer)

    async def stop(self, process_id: str, *, force: bool = False) -> None:  # noqa: ARG002
        """There is no force: user code in this loop can be cancelled, not killed."""
        living = self._living.pop(process_id, None)
        if living is None:
            return
        process, host, peer = living
        peer.is_open = False
        try:
            await host.stop()
        finally:
            self._devices.give_back(process_id)
            self._exits.put_nowait(
                Exit(process_id, process.kind, os.getpid(), 0, asked=True, labels=process.labels)
            )

    async def list(self) -> list[ProcessStatus]:
        return [
            ProcessStatus(process.id, process.kind, os.getpid(), process.labels)
            for process, _, _ in self._living.values()
        ]

    async def exits(self) -> AsyncIterator[Exit]:
        while True:
            yield await self._exits.get()

    async def capacity(self) -> tuple[Resources, Resources]:
        return self._devices.total, self._devices.free

    def fits(self, resources: Resources) -> bool:
        return self._devices.fits(resources)

    def answers(self) -> None:
        """Nobody waits."""

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Nobody asks: whoever made this engine shuts its controller down."""

    def drain_limit(self, seconds: float) -> None:
        """Nobody waits."""

    def drained(self) -> None:
        """Nobody waits."""
