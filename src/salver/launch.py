"""The one place where parts are wired together: an instance of Salver on this machine."""

from __future__ import annotations

import secrets
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from salver.engine.config import KeeperConfig, Listen
from salver.engine.owner import KeeperProcess
from salver.settings import Settings
from salver.spec.http import HttpSettings
from salver.spec.logging import LoggingConfig

__all__ = ("Capacity", "Instance", "prelude")

# Every kind of process and where it begins; the keeper imports these once and forks.
ENTRIES: Final = {
    "controller": "salver.control.main:main",
    "ingress": "salver.doors.server:main",
    "replica": "salver.replica.main:main",
}


@dataclass(frozen=True)
class Capacity:
    """What replicas may use together. None: what the machine has."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    resources: dict[str, float] = field(default_factory=dict)


class Instance:
    """A running instance that this process owns: it ends when this process stops it, or dies."""

    def __init__(self, address: str, keeper: KeeperProcess, http: HttpSettings) -> None:
        self.address = address
        self.keeper = keeper
        self.http = http
        self._over = False

    @classmethod
    def start(
        cls,
        http: HttpSettings,
        capacity: Capacity,
        logging: LoggingConfig | None = None,
        *,
        doors: bool = True,
    ) -> Instance:
        """Return once it listens. EngineError: it could not, and why (a busy port, say).

        Without `doors` nothing listens: apps are called by handles.
        """
        config = _config(http if doors else None, capacity, logging)
        directory = tempfile.mkdtemp(prefix="salver-")  # mode 0700
        try:
            _write_secret(Path(directory) / "secret")
            keeper = KeeperProcess.start(
                msgspec.structs.replace(config, instance=directory, preload=prelude())
            )
            try:
                keeper.wait_ready()
            except BaseException:  # Ctrl-C, say: it must not go on while its directory is removed
                keeper.kill()
                raise
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        return cls(directory, keeper, http)

    @property
    def url(self) -> str:
        """Where the HTTP door answers, with the real port; empty: there is none."""
        if "http" not in self.keeper.addresses:
            return ""
        host, port = self.keeper.addresses["http"]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def secret(self) -> bytes:
        """What proves to the instance's processes that a caller belongs to it."""
        return (Path(self.address) / "secret").read_bytes()

    def stop(self) -> None:
        """Let requests under way finish, end every process, leave nothing behind."""
        if not self._over:
            self.keeper.stop()
            self._over = True
        shutil.rmtree(self.address, ignore_errors=True)

    def kill(self) -> None:
        """End every process now. Harmless when all have ended."""
        if not self._over:
            self._over = True
            self.keeper.kill()
        shutil.rmtree(self.address, ignore_errors=True)


def prelude() -> tuple[str, ...]:
    """What has been done to this process's imports, as functions that do it to another's."""
    calls = (getattr(finder, "salver_prelude", None) for finder in sys.meta_path)
    return tuple(call for call in calls if call is not None)


def _write_secret(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(secrets.token_bytes(32))


def _config(
    http: HttpSettings | None, capacity: Capacity, logging: LoggingConfig | None
) -> KeeperConfig:
    entries = {kind: entry for kind, entry in ENTRIES.items() if http or kind != "ingress"}
    return KeeperConfig(
        instance="",  # which is made once all this is right
        entries=entries,
        listen=(Listen("http", http.host, http.port),) if http else (),
        settings={"ingress": msgspec.to_builtins(http)} if http else {},
        logging=logging or LoggingConfig(log_level=Settings.read().log_level),
        num_cpus=capacity.num_cpus,
        num_gpus=capacity.num_gpus,
        memory=capacity.memory,
        resources=capacity.resources,
    )
