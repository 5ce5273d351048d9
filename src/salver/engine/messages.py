"""What the keeper, its owner and the controller say to each other, one message per datagram."""

from __future__ import annotations

import msgspec

from salver.core.ports import Exit, ProcessSpec, ProcessStatus

__all__ = (
    "Answers",
    "Bound",
    "Died",
    "Drain",
    "DrainLimit",
    "Drained",
    "Failed",
    "FromController",
    "FromKeeper",
    "ListProcesses",
    "Listed",
    "Living",
    "OwnerHears",
    "Refused",
    "StartProcess",
    "Started",
    "StopAll",
    "StopProcess",
    "Stopped",
)


# ---- controller to keeper


class StartProcess(msgspec.Struct, frozen=True, tag=True):
    ref: int
    process: ProcessSpec


class StopProcess(msgspec.Struct, frozen=True, tag=True):
    id: str
    force: bool


class ListProcesses(msgspec.Struct, frozen=True, tag=True):
    ref: int


class DrainLimit(msgspec.Struct, frozen=True, tag=True):
    """The longest that draining may take, by the deployments' own limits."""

    seconds: float


class Answers(msgspec.Struct, frozen=True, tag=True):
    """The controller answers who dials it."""


class Drained(msgspec.Struct, frozen=True, tag=True):
    """Nothing is left that deserves patience."""


FromController = StartProcess | StopProcess | ListProcesses | Answers | DrainLimit | Drained


# ---- keeper to controller


class Started(msgspec.Struct, frozen=True, tag=True):
    ref: int
    pid: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    ref: int
    message: str


class Living(msgspec.Struct, frozen=True, tag=True):
    ref: int
    status: ProcessStatus


class Listed(msgspec.Struct, frozen=True, tag=True):
    ref: int


class Died(msgspec.Struct, frozen=True, tag=True):
    exit: Exit


class Drain(msgspec.Struct, frozen=True, tag=True):
    """The owner wants to stop: let every deployment finish its calls."""


FromKeeper = Started | Refused | Living | Listed | Died | Drain


# ---- keeper to owner, and the one thing that the owner says after its KeeperConfig


class Bound(msgspec.Struct, frozen=True, tag=True):
    """Every address is bound: whoever dials now will be answered."""

    addresses: dict[str, tuple[str, int]]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The keeper cannot go on (an import failed, the controller never answers): it ends."""

    message: str


class Restarted(msgspec.Struct, frozen=True, tag=True):
    """The controller or an ingress died and is started again after `delay_s`."""

    id: str
    reason: str
    delay_s: float


class Stopped(msgspec.Struct, frozen=True, tag=True):
    """Everything has ended."""


class StopAll(msgspec.Struct, frozen=True, tag=True):
    timeout_s: float | None = None


OwnerHears = Bound | Failed | Restarted | Stopped
