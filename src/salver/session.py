"""This process's one instance: started on first use, asked over its control link, ended with us."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import msgspec

from salver.calls.cluster import Cluster
from salver.calls.handle import DeploymentHandle
from salver.control.client import ControlClient, ask
from salver.control.waiting import wait_aloud
from salver.core.ports import Resources
from salver.errors import SalverError
from salver.launch import Capacity, Instance
from salver.program import Application
from salver.replica.context import current_replica
from salver.spec.app import AppSpec
from salver.spec.controller import ControllerOptions
from salver.spec.grpc import gRPCOptions
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.logging import LoggingConfig
from salver.spec.status import AppStatus, ServeStatus

__all__ = ("Session",)

T = TypeVar("T")
Settings = TypeVar("Settings", HttpSettings, gRPCOptions, ControllerOptions)
_logger = logging.getLogger("salver")
_INLINE: Final = "salver.testing.inline"


class Session:
    """Holds what `run` and `start` have started. All methods may be called from any thread.

    In a replica it holds nothing of its own and speaks for the instance that the replica is of. So
    it does for programs that a command imports: see `join`.
    """

    def __init__(self) -> None:
        self.capacity = Capacity()  # where nothing else is said when an instance starts
        self.env_vars: dict[str, str] = {}  # of every replica of apps that are run from here
        self.quiet_s = 5.0  # how long an app is waited for without a word
        self._lock = threading.RLock()
        self.only_builds = False  # what is run from here
        self._joined = ""  # the address of an instance that others start and end
        self._ran: list[tuple[Application, AppSpec]] = []  # there, since it was asked last
        self._instance: Instance | None = None
        self._cluster: Cluster | None = None
        self._inline: dict[str, Any] = {}  # apps of this very process, by name
        self._ingresses: dict[str, DeploymentId] = {}
        self._handles: WeakValueDictionary[tuple[DeploymentId, str], DeploymentHandle[Any]]
        self._handles = WeakValueDictionary()
        self._pid = os.getpid()

    # ---- the instance

    def join(self, address: str, instance: Instance | None = None) -> None:
        """Run what is run from here on an instance that somebody else started, and will end.

        `instance`: the same, where it is this process's.
        """
        self._joined, self._instance = address, instance

    @contextmanager
    def building(self) -> Iterator[None]:
        """Programs are imported for their apps: unless an instance is joined, no run runs any."""
        before, self.only_builds = self.only_builds, not self._joined
        try:
            yield
        finally:
            self.only_builds = before

    def start(
        self,
        http: HttpSettings,
        capacity: Capacity,
        logging: LoggingConfig | None = None,
        grpc: gRPCOptions | None = None,
        controller: ControllerOptions | None = None,
        *,
        doors: bool = True,
    ) -> None:
        """Start one. Where one runs already, its options stay and a warning names the others."""
        with self._lock:
            if self.cluster() is None:
                self._begin(http, capacity, logging, grpc, controller, doors=doors)
            elif self._instance is not None:
                _warn_of_difference(self._instance.http, http)
                _warn_of_difference(self._instance.grpc, grpc or self._instance.grpc)
                self._keep(controller)

    @property
    def http(self) -> HttpSettings | None:
        """The settings of the door that this process has started."""
        return self._instance.http if self._instance is not None else None

    @property
    def grpc_address(self) -> str:
        """Where the gRPC door that this process has started answers; empty: there is none."""
        return self._instance.grpc_address if self._instance is not None else ""

    def start_if_needed(
        self, http: HttpSettings, controller: ControllerOptions | None = None
    ) -> None:
        """Start one unless one runs, of which a warning names another controller's options."""
        with self._lock:
            if self.cluster() is None:
                self._begin(http, self.capacity, controller=controller)
            else:
                self._keep(controller)

    def _keep(self, controller: ControllerOptions | None) -> None:
        running = self._instance.controller if self._instance is not None else None
        if running and controller and controller.variables != running.variables:
            _warn_of_difference(running, controller)

    def _begin(
        self,
        http: HttpSettings,
        capacity: Capacity,
        logging: LoggingConfig | None = None,
        grpc: gRPCOptions | None = None,
        controller: ControllerOptions | None = None,
        *,
        doors: bool = True,
    ) -> None:
        if capacity == Capacity():
            capacity = self.capacity
        starting = Instance.start(http, capacity, logging, grpc, controller, doors=doors)
        self._instance = starting.wait_bound()
        self._cluster = Cluster.at(self._instance.address)
        self._pid = os.getpid()
        atexit.register(self.close)

    def cluster(self) -> Cluster | None:
        """How this process reaches its instance; None: nothing runs."""
        own = _own_cluster()
        if own is not None:
            return own
        if self._pid != os.getpid():  # a fork: the instance is our parent's
            self._instance = self._cluster = None
        elif self._joined and self._cluster is None:
            self._cluster = Cluster.at(self._joined)
        return self._cluster

    @property
    def address(self) -> str:
        """What a handle needs to know of the instance."""
        return self._reached().address

    def handle(self, deployment: DeploymentId) -> DeploymentHandle[Any]:
        """The same object for all who hold one."""
        inline = self._inline.get(deployment.app)
        key = deployment, self.address if inline is None else inline.address
        handle = self._handles.get(key)
        if handle is None:
            handle = self._handles[key] = DeploymentHandle(*key)
        return handle

    def _reached(self) -> Cluster:
        cluster = self.cluster()
        if cluster is None:
            raise SalverError("Nothing runs here. Start with `salver.run(app)`.")
        return cluster

    # ---- what it is asked

    def deploy(self, spec: AppSpec, app: Application) -> None:
        """Want this app; the controller has noted it when this returns."""
        self._ask(lambda control: control.deploy(spec))
        self._ingresses[spec.name] = spec.ingress.id
        if self._joined:
            self._ran.append((app, spec))

    def ran(self, app: Application, name: str, route_prefix: str | None) -> AppSpec | None:
        """As what a program has just run this very app itself, under this name and prefix."""
        ran, self._ran = self._ran, []
        wanted = app, name, route_prefix
        return next((s for a, s in ran[::-1] if (a, s.name, s.route_prefix) == wanted), None)

    def wait(self, name: str) -> AppStatus:
        """Until the app answers, or has failed; what it lacks is logged when that takes long."""

        def say(missing: str) -> None:
            _logger.warning("App %s is not up yet. Waiting for %s", name, missing)

        return self._ask(lambda control: wait_aloud(control, name, say, quiet_s=self.quiet_s))

    def delete(self, name: str, *, wait: bool) -> None:
        """Stop an app."""
        inline = self._inline.pop(name, None)
        if inline is not None:
            inline.close()
        if self.cluster() is None:
            return
        self._ingresses.pop(name, None)
        self._ask(lambda control: control.delete(name, wait=wait))

    def status(self) -> ServeStatus:
        """What is; empty when nothing runs."""
        if self.cluster() is not None:
            status = self._ask(lambda control: control.status())
        else:
            status = ServeStatus()
        apps = dict(status.applications)
        for inline in self._inline.values():
            apps |= inline.status().applications
        return msgspec.structs.replace(status, applications=apps)

    def capacity_now(self) -> tuple[Resources, Resources]:
        """What the machine has to share out, and what of it is free."""
        return self._ask(lambda control: control.capacity())

    def has(self, deployment: DeploymentId) -> bool:
        """Whether such a deployment is wanted now."""
        inline = self._inline.get(deployment.app)
        if inline is not None:
            return bool(inline.has(deployment))
        own = _own_cluster()
        if own is not None and _is_told(own):
            return own.directory.has(deployment)
        if self.cluster() is None:
            return False
        return self._look_up(lambda control: control.wants(deployment))

    def app_handle(self, app: str) -> DeploymentHandle[Any] | None:
        """The handle of an app's ingress; None: there is no such app."""
        inline = self._inline.get(app)
        if inline is not None:
            return inline.handle  # type: ignore[no-any-return]
        found = self.ingress_of(app)
        return None if found is None else self.handle(found)

    def ingress_of(self, app: str) -> DeploymentId | None:
        """The deployment that an app's handle calls."""
        cluster = self.cluster()
        if cluster is None:
            return None
        known = self._ingresses.get(app)
        if known is not None and self.has(known):
            return known
        if not _is_told(cluster):
            return self._look_up(lambda control: control.ingress_of(app))
        views = cluster.directory.views.values()
        return next((view.id for view in views if view.id.app == app and view.ingress), None)

    def _look_up(self, action: Callable[[ControlClient], Awaitable[T]]) -> T:
        """Ask what the controller knows by heart, on the cluster's loop too, which waits for it."""
        cluster = self._reached()
        if _running_loop() is not cluster.loop:
            return self._ask(action)
        with ThreadPoolExecutor(1) as apart:
            return apart.submit(asyncio.run, _with_control(cluster.address, action)).result()

    def _ask(self, action: Callable[[ControlClient], Awaitable[T]]) -> T:
        """Do it on the cluster's loop and wait. Not on that very loop: it would wait for ever."""
        cluster = self._reached()
        if _running_loop() is cluster.loop:
            raise SalverError(
                "This blocks the event loop that would have to do it. Call it in a thread: "
                "`await asyncio.to_thread(salver.status)`."
            )
        try:
            return self._submit(action).result()
        except (OSError, SalverError):
            if self._instance is not None:
                self._instance.check()
            raise

    def _submit(self, action: Callable[[ControlClient], Awaitable[T]]) -> Future[T]:
        cluster = self._reached()
        return asyncio.run_coroutine_threadsafe(
            _with_control(cluster.address, action), cluster.loop
        )

    # ---- inline

    def inline(self, app: AppSpec) -> Any:
        """Run an app in this process; returns its handle. One of the same name ends."""
        running = import_module(_INLINE).InlineApp.begin(app)
        self._pid = os.getpid()
        before, self._inline[app.name] = self._inline.get(app.name), running
        if before is not None:
            before.close()
        atexit.register(self.close)
        return running.handle

    # ---- the end

    def stay(self) -> None:
        """Until the instance has been shut down; EngineError: it has ended by itself, and why."""
        if self._joined:  # whoever imports this program stays
            return
        if _own_cluster() is not None:  # of whoever started this process, who also ends it
            threading.Event().wait()
        instance = self._instance
        trouble = instance.keeper.wait_ended() if instance is not None else None
        if trouble is not None and self._instance is instance:
            raise trouble

    def close(self) -> None:
        """Stop every app and every process; of somebody else's instance, the apps run from here.

        Nothing runs: nothing happens.
        """
        if self._joined:
            for name in list(self._ingresses):
                self.delete(name, wait=True)
            return
        with self._lock:
            instance, self._instance = self._instance, None
            cluster, self._cluster = self._cluster, None
            inline, self._inline = self._inline, {}
            self._ingresses.clear()
        atexit.unregister(self.close)
        if self._pid != os.getpid():
            return
        for running in inline.values():
            running.close()
        if instance is None:
            return
        try:
            instance.stop()
        finally:
            if cluster is not None:
                cluster.close()

    async def close_async(self) -> None:
        """`close`, while the calling loop goes on."""
        await asyncio.to_thread(self.close)


async def _with_control(address: str, action: Callable[[ControlClient], Awaitable[T]]) -> T:
    if address.startswith("memory:"):
        raise SalverError(
            "Code of an app in local testing mode can call others by handle, and no more: run, "
            "delete and look at apps from outside."
        )
    return await ask(address, (Path(address) / "secret").read_bytes(), action)


def _is_told(cluster: Cluster) -> bool:
    """Whether the controller has told it what there is; it will, from now on.

    A replica listens from its first handle on: until then it knows of nothing.
    """
    if cluster.directory.version or cluster.address.startswith("memory:"):
        return True
    cluster.run(Cluster.start, cluster)
    return False


def _own_cluster() -> Cluster | None:
    """That of the replica or the door which the running code is of."""
    adopted = Cluster.here()
    if adopted is not None:
        return adopted
    replica = current_replica.get(None)
    return Cluster.at(replica.instance) if replica is not None and replica.instance else None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _warn_of_difference(running: Settings, wanted: Settings) -> None:
    differ = [
        f"{name}={getattr(wanted, name)!r} (is {getattr(running, name)!r})"
        for name in msgspec.structs.asdict(wanted)
        if getattr(wanted, name) != getattr(running, name)
    ]
    if differ:
        _logger.warning(
            "An instance runs already and keeps its options; these are ignored: %s. "
            "Call shutdown() first to change them.", ", ".join(differ),
        )  # fmt: skip
