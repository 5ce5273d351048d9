"""Doors that die at every start: after a few times nobody waits for them any more."""

from __future__ import annotations

from typing import Final

from salver.core.ports import Exit

__all__ = ("DoorStarts",)

LIMIT: Final = 3  # deaths in a row
_TITLES: Final = {"ingress": "HTTP", "grpc": "gRPC"}
_ADVICE: Final = {
    "ingress": "`pip install --force-reinstall salver` mends a broken package.",
    "grpc": "`pip install --force-reinstall 'salver[grpc]'` mends a broken package; without "
    "`--grpc-port` and `grpc_options` this door is not needed.",
}


class DoorStarts:
    """How often each door has died since it let somebody in, and of what at last."""

    def __init__(self) -> None:
        self._falls: dict[str, int] = {}
        self._last: dict[str, Exit] = {}

    def stands(self, name: str) -> None:
        """A door knows where requests go. Its name is its process's and something random."""
        self._falls.pop(name.rpartition("-")[0], None)

    def fell(self, exit_: Exit) -> None:
        """Of other processes nothing is noted."""
        if exit_.kind in _TITLES:
            self._falls[exit_.id] = self._falls.get(exit_.id, 0) + 1
            self._last[exit_.id] = exit_

    @property
    def hopeless(self) -> list[str]:
        """Those that nobody waits for."""
        return [name for name, falls in self._falls.items() if falls >= LIMIT]

    @property
    def trouble(self) -> str:
        """What is wrong with the first of them, for people; empty: nothing."""
        return next((_told(self._last[name], self._falls[name]) for name in self.hopeless), "")


def _told(exit_: Exit, falls: int) -> str:
    cause = f"{exit_.reason}: {exit_.said.rstrip('.')}" if exit_.said else exit_.reason
    return (
        f"The {_TITLES[exit_.kind]} door does not start; it was tried {falls} times, and ended "
        f"with {cause}. The log above has all that it said. {_ADVICE[exit_.kind]}"
    )
