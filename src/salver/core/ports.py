"""What the core needs from the world, as Protocols. Engines and stores implement them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from signal import Signals
from typing import Protocol

import msgspec

from salver.core.unloading import Unloaded
from salver.spec.app import AppSpec
from salver.spec.ids import DeploymentId

__all__ = ("Engine", "Exit", "ProcessSpec", "ProcessStatus", "Resources", "Store")


class Resources(msgspec.Struct, frozen=True):
    """An amount of what a machine has; also what one process asks for."""

    num_cpus: float = 0.0
    num_gpus: float = 0.0
    memory: float = 0.0
    custom: dict[str, float] = {}

    def times(self, count: int) -> Resources:
        """What so many ask for together."""
        custom = {name: count * amount for name, amount in self.custom.items()}
        return Resources(count * self.num_cpus, count * self.num_gpus, count * self.memory, custom)


class ProcessSpec(msgspec.Struct, frozen=True):
    """A process to start. `labels` come back from `Engine.list`, also to a new controller."""

    id: str
    kind: str  # "replica", "ingress", "controller"
    resources: Resources = Resources()
    env: dict[str, str] = {}
    labels: dict[str, str] = {}


class ProcessStatus(msgspec.Struct, frozen=True):
    id: str
    kind: str
    pid: int
    labels: dict[str, str] = {}


class Exit(msgspec.Struct, frozen=True):
    """How a process ended. `out_of_memory` is None where the kernel does not tell.

    `said`: the error that its output ends with, if it ended by itself.
    """

    id: str
    kind: str
    pid: int
    code: int | None = None
    signal: int | None = None
    out_of_memory: bool | None = False
    asked: bool = False  # we told it to end
    labels: dict[str, str] = {}
    said: str = ""

    @property
    def reason(self) -> str:
        """One clause for people: 'exit code 3', 'killed by signal 9 (SIGKILL)', 'out of memory'."""
        if self.signal is None:
            return f"exit code {self.code}"
        if self.out_of_memory:
            return f"out of memory (killed by {signal_name(self.signal)})"
        maybe = ", possibly out of memory" if self.out_of_memory is None else ""
        return f"killed by {signal_name(self.signal)}{maybe}"


def signal_name(number: int) -> str:
    """'signal 9 (SIGKILL)'."""
    try:
        return f"signal {number} ({Signals(number).name})"
    except ValueError:
        return f"signal {number}"


class Engine(Protocol):
    """Starts, watches and stops processes. One implementation per place where they can run."""

    async def start(self, *processes: ProcessSpec) -> None:
        """Return once all exist. CapacityError: they do not fit now; EngineError: they never will.

        There is room for all of them, or none is started.
        """

    async def stop(self, process_id: str, *, force: bool = False) -> None:
        """Ask it to end (SIGTERM), or end it (SIGKILL). Unknown or dead: nothing happens."""

    async def list(self) -> list[ProcessStatus]:
        """Every living process, also those that an earlier controller started."""

    def exits(self) -> AsyncIterator[Exit]:
        """Every death, in order, as it is noticed."""

    def fits(self, resources: Resources) -> bool:
        """Whether the machine, were all of it free, has this much."""

    def answers(self) -> None:
        """The controller can be dialled now: the instance is complete."""

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Call this when the owner wants to stop; the engine waits for `drained`."""

    def drain_limit(self, seconds: float) -> None:
        """Draining will take this long at most; then the engine need not wait any longer."""

    def drained(self) -> None:
        """Nothing is left that deserves patience: end everything."""

    async def capacity(self) -> tuple[Resources, Resources]:
        """What the machine has, and what of it is free."""


class Store(Protocol):
    """Keeps what is wanted through the death of the controller."""

    def counts(self) -> dict[DeploymentId, int]:
        """How many replicas the autoscaler wanted last, by deployment."""

    def put_count(self, deployment: DeploymentId, count: int | None) -> None:
        """None: the autoscaler has no say in it any more."""

    def unloaded(self) -> Unloaded:
        """What clients had unloaded."""

    def put_unloaded(self, unloaded: Unloaded) -> None:
        """Costs nothing where it is as before."""

    def settings(self) -> bytes:
        """What clients had set for all models, as it was put; empty: nothing."""

    def put_settings(self, settings: bytes) -> None: ...

    def load(self) -> list[tuple[AppSpec, AppSpec | None]]:
        """Every app, the last put last, and what it was before an update that is not over."""

    def put(self, app: AppSpec, before: AppSpec | None = None) -> None: ...

    def remove(self, name: str) -> None: ...
