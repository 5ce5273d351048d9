"""The processes that the keeper itself keeps alive: the controller and the doors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from salver.core.backoff import Backoff
from salver.core.ports import Exit
from salver.engine.config import KeeperConfig
from salver.engine.selecting import Loop

__all__ = ("Services",)

# Who dies within this time of starting is likely to do it again.
QUICK_S: Final = 1.0
BACKOFF: Final = Backoff(base_s=0.1, limit_s=5.0, free=3)
TRIES: Final = 3  # of a controller that has never answered


class Services:
    """Starts each once, and again whenever it has died."""

    def __init__(
        self, config: KeeperConfig, loop: Loop, launch: Callable[[str, str], None]
    ) -> None:
        self._loop = loop
        self._launch = launch
        self._kinds: dict[str, str] = {}
        if "controller" in config.entries:
            self._kinds["controller"] = "controller"
        if "ingress" in config.entries:
            names = ["ingress", *(f"ingress-{i}" for i in range(2, config.ingresses + 1))]
            self._kinds.update(dict.fromkeys(names[: config.ingresses], "ingress"))
        if "grpc" in config.entries:
            self._kinds["grpc"] = "grpc"
        self._quick = dict.fromkeys(self._kinds, 0)
        self._tries = 0
        self.answered = False  # by the controller, ever

    @property
    def doors(self) -> int:
        """How many of them let requests in."""
        return sum(kind != "controller" for kind in self._kinds.values())

    def start(self, kind: str) -> None:
        """Start those of this kind, if there are to be any."""
        for name in [name for name, of in self._kinds.items() if of == kind]:
            self._launch(kind, name)

    def owns(self, process_id: str) -> bool:
        return process_id in self._kinds

    def hopeless(self, exit_: Exit) -> bool:
        """Whether the controller dies at every start, so that there will be no instance."""
        if exit_.kind != "controller" or self.answered:
            return False
        self._tries += 1
        return self._tries >= TRIES

    def again(self, name: str, lived: float) -> float:
        """Start it again: at once, unless it keeps dying as soon as it has started."""
        self._quick[name] = self._quick[name] + 1 if lived < QUICK_S else 0
        delay = BACKOFF.delay(self._quick[name])
        self._loop.later(delay, lambda: self._launch(self._kinds[name], name))
        return delay
