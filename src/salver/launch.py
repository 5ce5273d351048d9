"""The one place where parts are wired together: an instance of Salver on this machine."""

from __future__ import annotations

import logging
import math
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from salver.doors.tls import context_of
from salver.engine.config import KeeperConfig, Listen
from salver.engine.doorplate import put_up
from salver.engine.owner import KeeperProcess
from salver.engine.runtime import make_runtime, sweep_runtimes
from salver.engine.spawn import Spawned
from salver.errors import SalverError
from salver.processes import GRPC, PROCESSES
from salver.replica.grpc.services import check_installed, load_services
from salver.settings import Settings
from salver.spec.controller import ControllerOptions
from salver.spec.grpc import GrpcDoorSettings, gRPCOptions
from salver.spec.http import HttpSettings
from salver.spec.logging import LoggingConfig
from salver.spec.placement import check_named
from salver.spec.variables import told

__all__ = ("Capacity", "Instance", "default_http", "door_troubles", "prelude")

_logger: Final = logging.getLogger("salver")


@dataclass(frozen=True)
class Capacity:
    """What replicas may use together. None: what the machine has."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    memory: float | None = None
    resources: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.resources, Mapping):
            raise ValueError(
                f"resources={self.resources!r} is not valid: expected a dict such as {{'tpu': 2}}."
            )
        check_named(self.resources)
        named = {f"resources[{name!r}]": amount for name, amount in self.resources.items()}
        own = {name: getattr(self, name) for name in ("num_cpus", "num_gpus", "memory")}
        for name, amount in {**own, **named}.items():
            if amount is not None and not _is_amount(amount):
                raise ValueError(
                    f"{name}={amount!r} is not valid: expected a number >= 0, which replicas may "
                    "use together. Leave it out for what this machine has."
                )


def _is_amount(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < math.inf


def default_http() -> HttpSettings:
    """The HTTP door as the environment says; ValueError: it says what cannot be."""
    settings = Settings.read()
    return HttpSettings(
        host=settings.http_host,
        port=settings.http_port,
        session_id_header=settings.session_id_header,
    )


def door_troubles(
    http: HttpSettings, grpc: gRPCOptions
) -> Iterator[tuple[tuple[str | int, ...], SalverError]]:
    """Which files and services cannot be used, while somebody can be told: the option, and why."""
    checks: list[tuple[tuple[str | int, ...], Callable[[], Any]]] = [
        (("http_options",), partial(context_of, http, http.ssl_keyfile_password)),
        (("grpc_options",), partial(context_of, grpc)),
    ]
    if grpc.wanted:
        checks.append((("grpc_options",), check_installed))
        checks += [
            (("grpc_options", "grpc_servicer_functions", index), partial(load_services, (path,)))
            for index, path in enumerate(grpc.grpc_servicer_functions)
        ]
    for option, check in checks:
        try:
            check()
        except SalverError as error:
            yield option, error


class Instance:
    """A running instance that this process owns: it ends when this process stops it, or dies."""

    def __init__(
        self,
        address: str,
        lock: FileIO,
        keeper: KeeperProcess,
        http: HttpSettings,
        grpc: gRPCOptions,
        controller: ControllerOptions,
    ) -> None:
        self.address = address
        self._lock = lock
        self.keeper = keeper
        self.http = http
        self.grpc = grpc
        self.controller = controller
        self._over = False

    @classmethod
    def start(
        cls,
        http: HttpSettings,
        capacity: Capacity,
        logging: LoggingConfig | None = None,
        grpc: gRPCOptions | None = None,
        controller: ControllerOptions | None = None,
        *,
        doors: bool = True,
        spawned: Spawned | None = None,
    ) -> Instance:
        """Tell a keeper what to keep; `wait_bound` comes before anything else.

        TargetError: the services of the gRPC door cannot be found. Without `doors` nothing listens:
        apps are called by handles. `spawned`: the keeper's process, if that is on its way already.
        """
        grpc = grpc if doors and grpc else gRPCOptions()
        controller = controller or ControllerOptions()
        for _, error in door_troubles(http, grpc):
            raise error
        _tell_of_variables()
        config = _config(http if doors else None, capacity, logging, grpc, controller)
        sweep_runtimes()
        directory, lock = make_runtime()
        try:
            _write_secret(Path(directory) / "secret")
            keeper = KeeperProcess.start(
                msgspec.structs.replace(config, instance=directory, preload=prelude()), spawned
            )
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            lock.close()
            raise
        return cls(directory, lock, keeper, http, grpc, controller)

    def wait_bound(self) -> Self:
        """Return once it listens. EngineError: it could not, and why (a busy port, say).

        What goes wrong after that is heard by those who ask its controller: they `check`.
        """
        try:
            self.keeper.wait_bound()
            self._put_up()
        except BaseException:  # Ctrl-C, say: it must not go on while its directory is removed
            self.kill()
            raise
        return self

    def _put_up(self) -> None:
        """Say to clients on this machine where the HTTP door is."""
        if "http" not in self.keeper.addresses or self.http.secure:
            return
        address = self.keeper.addresses["http"]
        try:
            put_up(self.address, *address, self.http.root_path, self.http.session_id_header)
        except OSError:
            self.check()  # its directory went with the keeper
            raise

    @property
    def url(self) -> str:
        """Where the HTTP door answers, with the real port; empty: there is none."""
        address = self.keeper.addresses.get("http")
        return "" if address is None else f"{self._scheme}://{_written(address)}"

    @property
    def public_url(self) -> str:
        """Where others reach the HTTP door, as far as that was said; empty: there is none."""
        return self.http.root_url if self.url and self.http.root_url else self.url

    @property
    def grpc_address(self) -> str:
        """Where the gRPC door answers, with the real port; empty: there is none."""
        address = self.keeper.addresses.get("grpc")
        return "" if address is None else _written(address)

    @property
    def _scheme(self) -> str:
        return "https" if self.http.secure else "http"

    def secret(self) -> bytes:
        """What proves to the instance's processes that a caller belongs to it."""
        return (Path(self.address) / "secret").read_bytes()

    def check(self) -> None:
        """EngineError: the instance has ended by itself, and why."""
        trouble = self.keeper.trouble()
        if trouble is not None:
            raise trouble

    def stop(self) -> None:
        """Let requests under way finish, end every process, leave nothing behind."""
        if not self._over:
            self.keeper.stop()
            self._over = True
        self._clear_away()

    def kill(self) -> None:
        """End every process now. Harmless when all have ended."""
        if not self._over:
            self._over = True
            self.keeper.kill()
        self._clear_away()

    def _clear_away(self) -> None:
        shutil.rmtree(self.address, ignore_errors=True)
        self._lock.close()


def _tell_of_variables() -> None:
    unused = told(Settings.read().ray_variables)
    if unused:
        _logger.warning("Variables that are set and mean nothing here: %s.", unused)


def prelude() -> tuple[str, ...]:
    """What has been done to this process's imports, as functions that do it to another's."""
    calls = (getattr(finder, "salver_prelude", None) for finder in sys.meta_path)
    return tuple(call for call in calls if call is not None)


def _write_secret(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_bytes(secrets.token_bytes(32))


def _written(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _config(
    http: HttpSettings | None,
    capacity: Capacity,
    logging: LoggingConfig | None,
    grpc: gRPCOptions,
    controller: ControllerOptions,
) -> KeeperConfig:
    entries = {kind: entry for kind, entry in PROCESSES.items() if http or kind != "ingress"}
    listen: tuple[Listen, ...] = (Listen("http", http.host, http.port),) if http else ()
    limit_s = Settings.read().autoscaling_stats_timeout_s
    settings: dict[str, Any] = {"replica": {}, "controller": {"stats_timeout_s": limit_s}}
    if http:
        settings["ingress"] = msgspec.to_builtins(http)
        settings["replica"] |= {"root_path": http.root_path, "secure": http.secure}
    if grpc.wanted:
        entries |= GRPC
        listen += (Listen("grpc", grpc.host, grpc.port),)
        paths = tuple(str(Path(p).absolute()) for p in sys.path)
        shares_memory = http is not None and http.system_shared_memory
        door = GrpcDoorSettings(grpc, paths, str(Path.cwd()), shares_memory=shares_memory)
        settings["grpc"] = msgspec.to_builtins(door)
        settings["replica"] |= {"services": grpc.grpc_servicer_functions, "infers": grpc.infers}
    return KeeperConfig(
        instance="",  # which is made once all this is right
        entries=entries,
        listen=listen,
        settings=settings,
        env={"controller": controller.variables},
        logging=logging or LoggingConfig(log_level=Settings.read().log_level),
        num_cpus=capacity.num_cpus,
        num_gpus=capacity.num_gpus,
        memory=capacity.memory,
        resources=capacity.resources,
    )
