"""The owner's end of a keeper: start it, hear from it, stop it. Blocking; used by launch."""

from __future__ import annotations

from salver.engine.config import KeeperConfig

__all__ = ("KeeperProcess",)


class KeeperProcess:
    """A running keeper. It dies with everything it started when this process dies or closes it."""

    pid: int

    @classmethod
    def start(cls, config: KeeperConfig) -> KeeperProcess:
        """Start a keeper and return once it has bound its addresses; EngineError: it could not."""
        raise NotImplementedError

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where it listens, by `Listen.name`, with the real port."""
        raise NotImplementedError

    def fileno(self) -> int:
        """Readable when the keeper has ended (or says something: see `poll`)."""
        raise NotImplementedError

    def stop(self, timeout_s: float | None = None) -> None:
        """Drain, end everything, return when it is gone. None: as long as the deployments allow."""
        raise NotImplementedError

    def kill(self) -> None:
        """End everything at once, return when it is gone."""
        raise NotImplementedError
