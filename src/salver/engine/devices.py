"""Who has been given what: CPUs, GPUs (whole and shared), memory, named resources. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from salver.core.ports import Resources
from salver.engine.machine import Machine
from salver.errors import CapacityError, EngineError

__all__ = ("Devices", "Grant")

# Amounts are counted in ten-thousandths: thirds of a GPU given and returned leave nothing behind.
UNIT: Final = 10_000


class Grant(msgspec.Struct, frozen=True):
    """What one process has been given; it travels in its labels, so a new controller knows it."""

    resources: Resources
    gpus: tuple[tuple[str, int], ...] = ()  # name, share in units

    @property
    def visible_devices(self) -> str:
        """For CUDA_VISIBLE_DEVICES."""
        return ",".join(name for name, _ in self.gpus)


class Devices:
    """Takes from and gives back to one machine's stock."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._grants: dict[str, Grant] = {}

    @property
    def total(self) -> Resources:
        machine = self.machine
        return Resources(
            machine.num_cpus, float(len(machine.gpus)), machine.memory, dict(machine.custom)
        )

    @property
    def free(self) -> Resources:
        """What is not given out; negative where a restored grant exceeds what is declared now."""
        total, taken = _units(self.total), self._taken()
        return _resources({name: amount - taken.get(name, 0) for name, amount in total.items()})

    def take(self, process_id: str, wanted: Resources) -> Grant:
        """Give this process what it asks for; CapacityError: it is not free now."""
        if process_id in self._grants:
            raise EngineError(f"Process {process_id!r} has been given its resources already.")
        _refuse_nonsense(wanted)
        free = _units(self.free)
        if any(amount > free.get(name, 0) for name, amount in _units(wanted).items() if amount):
            raise self._shortage(wanted)
        gpus = self._pick_gpus(round(wanted.num_gpus * UNIT))
        if gpus is None:
            raise self._shortage(wanted)
        grant = Grant(wanted, gpus)
        self._grants[process_id] = grant
        return grant

    def take_all(self, wanted: Mapping[str, Resources]) -> dict[str, Grant]:
        """Give a gang, whose members ask for the same, all of it or nothing."""
        grants: dict[str, Grant] = {}
        try:
            for process_id, resources in wanted.items():
                grants[process_id] = self.take(process_id, resources)
        except EngineError as error:
            for process_id in grants:
                self.give_back(process_id)
            if len(wanted) > 1 and isinstance(error, CapacityError):
                all_of_it = next(iter(wanted.values())).times(len(wanted))
                raise self._shortage(all_of_it, f"together {len(wanted)} need") from None
            raise
        return grants

    def restore(self, process_id: str, grant: Grant) -> None:
        """Note what a living process was given by an earlier controller."""
        self._grants[process_id] = grant

    def give_back(self, process_id: str) -> None:
        """Its process has ended. Unknown: nothing happens."""
        self._grants.pop(process_id, None)

    def fits(self, wanted: Resources) -> bool:
        """Whether the whole machine, were it free, has this much."""
        total = _units(self.total)
        return all(amount <= total.get(name, 0) for name, amount in _units(wanted).items())

    def _taken(self) -> dict[str, int]:
        taken: dict[str, int] = {}
        for grant in self._grants.values():
            for name, amount in _units(grant.resources).items():
                taken[name] = taken.get(name, 0) + amount
        return taken

    def _pick_gpus(self, wanted: int) -> tuple[tuple[str, int], ...] | None:
        free = dict.fromkeys(self.machine.gpus, UNIT)
        for grant in self._grants.values():
            for name, share in grant.gpus:
                if name in free:
                    free[name] -= share
        if wanted >= UNIT:
            whole = [name for name, left in free.items() if left == UNIT]
            count = wanted // UNIT
            return tuple((name, UNIT) for name in whole[:count]) if len(whole) >= count else None
        if wanted == 0:
            return ()
        # A share goes where least is left, so that whole devices stay whole.
        fitting = [(left, i, name) for i, (name, left) in enumerate(free.items()) if left >= wanted]
        return ((min(fitting)[2], wanted),) if fitting else None

    def _shortage(self, wanted: Resources, who: str = "needs") -> CapacityError:
        asked = _units(wanted)
        free, total = _units(self.free), _units(self.total)
        names = [name for name, amount in asked.items() if amount]
        parts = (
            f"{_show(name, asked[name])} ({_show(name, free.get(name, 0), bare=True)} free "
            f"of {_show(name, total.get(name, 0), bare=True)})"
            for name in names
        )
        return CapacityError(f"{who} {', '.join(parts)}")


def _refuse_nonsense(wanted: Resources) -> None:
    for name, amount in _units(wanted).items():
        if amount < 0:
            raise EngineError(f"{name}={amount / UNIT:g} was asked for; it must be 0 or more.")
    gpus = round(wanted.num_gpus * UNIT)
    if gpus > UNIT and gpus % UNIT:
        raise EngineError(
            f"num_gpus={wanted.num_gpus:g} was asked for; above 1 only whole GPUs can be given."
        )


def _units(resources: Resources) -> dict[str, int]:
    amounts = {
        "num_cpus": resources.num_cpus,
        "num_gpus": resources.num_gpus,
        "memory": resources.memory,
        **resources.custom,
    }
    return {name: round(amount * UNIT) for name, amount in amounts.items()}


def _resources(units: dict[str, int]) -> Resources:
    amounts = {name: amount / UNIT for name, amount in units.items()}
    cpus, gpus, memory = (amounts.pop(name) for name in ("num_cpus", "num_gpus", "memory"))
    return Resources(cpus, gpus, memory, amounts)


def _show(name: str, units: int, *, bare: bool = False) -> str:
    amount = units / UNIT
    text = f"{amount / 2**20:.0f} MiB" if name == "memory" else f"{amount:g}"
    return text if bare else f"{name}={text}"
