"""One app as wanted and as known: the data that `reconcile` decides on, and what it decides."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from math import ceil
from typing import Final

import msgspec

from salver.core.failures import Failures
from salver.spec.ids import DeploymentId
from salver.spec.start import GangContext

__all__ = (
    "ENDING",
    "RISING",
    "SERVING",
    "Act",
    "Action",
    "AppKnown",
    "Known",
    "Phase",
    "Plan",
    "Replica",
    "Target",
    "has_failed",
    "in_gangs",
)


class Phase(StrEnum):
    """Where a replica is in its life, and what is in flight, so that nothing is done twice."""

    WAITING = "WAITING"  # for capacity: the engine has refused it
    QUEUED = "QUEUED"  # something was freed: to be tried again
    LAUNCHING = "LAUNCHING"  # the engine has been asked for a process
    ATTACHING = "ATTACHING"  # the process lives and has not dialled in yet
    ATTACHED = "ATTACHED"  # it has, and waits for its task
    STARTING = "STARTING"  # it builds the user's object
    RUNNING = "RUNNING"
    UPDATING = "UPDATING"  # runs, while it takes a new configuration
    DRAINING = "DRAINING"  # out of all views; finishes its calls
    DRAINED = "DRAINED"
    STOPPING = "STOPPING"  # asked to end
    KILLED = "KILLED"  # ended by force; its death has not been noticed yet


RISING: Final = frozenset(
    {Phase.QUEUED, Phase.LAUNCHING, Phase.ATTACHING, Phase.ATTACHED, Phase.STARTING}
)
SERVING: Final = frozenset({Phase.RUNNING, Phase.UPDATING})
ENDING: Final = frozenset({Phase.DRAINING, Phase.DRAINED, Phase.STOPPING, Phase.KILLED})


class Replica(msgspec.Struct, frozen=True):
    """One copy, as far as it is known. Times are of the clock that `reconcile` is given."""

    id: str
    version: str
    config: str
    phase: Phase
    created: float
    since: float  # when it entered this phase
    end_by: float = 0.0  # once it drains: when it must be gone
    possible: bool = True  # the machine, were it empty, could hold it
    found: bool = False  # begun by an earlier controller: it may be at work, though it is silent
    gang: GangContext | None = None

    @property
    def serves(self) -> bool:
        """Whether it takes calls."""
        return self.phase in SERVING

    @property
    def ends(self) -> bool:
        """Whether it is on its way out."""
        return self.phase in ENDING


def in_gangs(number: int, gang_size: int) -> int:
    """So many replicas at least, in whole gangs."""
    return -(-number // gang_size) * gang_size


class Target(msgspec.Struct, frozen=True):
    """One deployment as wanted."""

    version: str  # replicas of another one are replaced
    config: str  # replicas of another one are reconfigured in place
    num_replicas: int
    startup_timeout_s: float
    retries: int
    rolling: float = 0.2  # share of the replicas
    max_surge: int | None = None  # percent of them
    gang_size: int = 1

    @property
    def batch(self) -> int:
        """So many at most are changed at a time, where not all are at once."""
        return in_gangs(max(1, int(self.rolling * self.num_replicas)), self.gang_size)

    @property
    def surge(self) -> int | None:
        """So many new ones at most run beside the old; None: all, which take over at once."""
        if self.max_surge is None:
            return None
        return in_gangs(ceil(self.max_surge / 100 * self.num_replicas), self.gang_size)


class Known(msgspec.Struct, frozen=True):
    """One deployment as known. `settled`: this version has been complete once.

    `in_turn`: there was no room for new beside old, so they are exchanged in turn.
    `scaling`, `scaled`: the autoscaler's move that is under way and its last one; 1 up, -1 down.
    `resized`: the same of the last deploy, if it changed the number and nothing else.
    """

    replicas: tuple[Replica, ...] = ()
    failures: Failures = Failures()  # of the wanted version
    standing_failures: Failures = Failures()
    settled: bool = False
    in_turn: bool = False
    scaling: int = 0
    scaled: int = 0
    resized: int = 0


def has_failed(target: Target, known: Known) -> bool:
    """This version never ran in full, and no further attempt will be made."""
    failures = known.failures
    return not known.settled and (failures.gave_up or failures.starts >= target.retries)


class AppKnown(msgspec.Struct, frozen=True):
    """One app: its targets, none when it is to be deleted. `order` has callees first.

    `standing`: what was wanted when the app was complete last. It is upheld until the targets are.
    """

    targets: Mapping[DeploymentId, Target]
    known: Mapping[DeploymentId, Known]
    order: tuple[DeploymentId, ...]  # also of what is to go
    standing: Mapping[DeploymentId, Target] = {}


class Act(StrEnum):
    CREATE = "CREATE"  # a new replica of that version, or a gang of them
    LAUNCH = "LAUNCH"  # ask the engine again; for a gang, its rank 0 stands for all
    START = "START"
    RECONFIGURE = "RECONFIGURE"
    DRAIN = "DRAIN"
    STOP = "STOP"
    KILL = "KILL"
    FORGET = "FORGET"  # it has no process
    TIME_OUT = "TIME_OUT"  # kill it, and count it as a failed start
    GIVE_UP = "GIVE_UP"  # no room for it in all its time: the deployment has failed
    TAKE_TURNS = "TAKE_TURNS"  # drain this old one to make room for a new one


class Action(msgspec.Struct, frozen=True):
    act: Act
    deployment: DeploymentId
    replica: str = ""  # CREATE has none yet
    version: str = ""  # of CREATE only


class Plan(msgspec.Struct, frozen=True):
    """What to do now, who serves, and when to look again though nothing happens."""

    actions: tuple[Action, ...]
    serving: Mapping[DeploymentId, tuple[str, ...]]
    wake_at: float | None
    complete: frozenset[DeploymentId]  # those that have all the new replicas they want
