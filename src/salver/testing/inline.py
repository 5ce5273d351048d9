"""An app in this process, on one loop in a thread: for tests, notebooks and debuggers."""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from salver.calls.cluster import Cluster
from salver.calls.handle import DeploymentHandle
from salver.calls.metrics import router_families
from salver.control.controller import Controller
from salver.control.inference import Inference
from salver.control.metrics import Metrics
from salver.control.publish import Watcher
from salver.control.repository import DeploymentRepository
from salver.control.store import MemoryStore
from salver.doors.asgi_bridge import AsgiBridge
from salver.doors.door import HttpDoor
from salver.doors.metrics import door_families
from salver.engine.config import KeeperConfig
from salver.engine.inline import InlineEngine, InlinePeer
from salver.engine.machine import detect
from salver.engine.process import current_environment
from salver.errors import DeployFailedError
from salver.spec.app import AppSpec
from salver.spec.http import HttpSettings
from salver.spec.ids import DeploymentId
from salver.spec.start import Attachment
from salver.spec.status import ApplicationStatus, ServeStatus
from salver.wire.memory import MemoryHub
from salver.wire.streams import Dialler

__all__ = ("InlineApp",)

T = TypeVar("T")
_CLOSE_S: Final = 30.0
_OTHER_PROCESSES: Final = (  # options that only a process of its own can have
    "num_gpus", "resources", "env_vars", "working_dir", "py_modules", "pip",
)  # fmt: skip
_logger: Final = logging.getLogger("salver")


class InlineApp:
    """Runs until `close`. `handle` calls its ingress; `asgi` is its HTTP door, as an ASGI app."""

    handle: DeploymentHandle[Any]
    asgi: AsgiBridge

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="salver-inline", daemon=True)
        self._thread.start()

    @classmethod
    def begin(cls, app: AppSpec) -> InlineApp:
        """Return once it runs; DeployFailedError: it does not, and why."""
        inline = cls()
        try:
            inline._do(inline._open(_without_resources(app)))
        except BaseException:
            inline.close()
            raise
        return inline

    def status(self) -> ServeStatus:
        """What runs, as `salver.status` shows it."""
        return self._do(self._status())

    @property
    def address(self) -> str:
        """What a handle needs to know of it."""
        return self._cluster.address

    def has(self, deployment: DeploymentId) -> bool:
        """Whether it is a deployment of this app's."""
        return self._cluster.directory.has(deployment)

    def close(self) -> None:
        """Drain, stop, end the thread. Again: nothing happens."""
        if self._loop.is_closed():
            return
        try:
            self._do(self._close())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_S)
            self._loop.close()

    def _do(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        with suppress(RuntimeError):
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())

    async def _open(self, app: AppSpec) -> None:
        self._dialler = Dialler(MemoryHub())
        self._cluster = Cluster(
            f"memory:{secrets.token_hex(8)}",
            self._loop,
            secret=secrets.token_bytes(32),
            dialler=self._dialler,
            watch=False,
        )
        Cluster._remember(self._cluster)
        engine = InlineEngine(self._cluster, detect(KeeperConfig("", {}), current_environment()))
        store = MemoryStore()
        self._controller = Controller(engine, store)
        self._metrics = Metrics(self._controller.events)
        self._inference = Inference(DeploymentRepository(self._controller), store)
        self._controller.publisher.add(Watcher("models", self._inference.heard, door=False))
        engine.connect(self._attached, self._controller.publisher.note)
        await self._controller.open()
        self._cluster.directory.loads.send = partial(self._controller.scaling.told, "inline")
        watcher = Watcher("inline", self._cluster.directory.apply, door=False)
        self._controller.publisher.add(watcher)
        door = HttpDoor.of(self._cluster, HttpSettings(), self._metrics.page, self._inference.ask)
        self._metrics.joined("inline", _Door(door, self._cluster))
        self.asgi = AsgiBridge(door, self._loop)
        self._controller.deploy(app)
        status = await self._controller.wait(app.name)
        if status.status is ApplicationStatus.DEPLOY_FAILED:
            raise DeployFailedError(app.name, status.message)
        self.handle = DeploymentHandle(app.ingress.id, self._cluster.address)

    def _attached(self, replica: Attachment, peer: InlinePeer) -> None:
        self._controller.attached(replica, peer)
        self._metrics.joined(replica.id, peer)
        self._inference.joined(replica.id, peer)

    async def _status(self) -> ServeStatus:
        return self._controller.status()

    async def _close(self) -> None:
        if not hasattr(self, "_controller"):
            return
        await self._controller.shutdown()
        await self._controller.close()
        self._cluster.close()
        self._dialler.close()


def _without_resources(app: AppSpec) -> AppSpec:
    """The same for a process that shares nothing out: it runs where there is no GPU, too."""
    deployments = []
    for spec in app.deployments:
        options = spec.options
        for name in _OTHER_PROCESSES:
            if value := getattr(options, name):
                _logger.warning(
                    "%s=%r of deployment %s means nothing to an app in this process.",
                    name, value, spec.id,
                )  # fmt: skip
        options = msgspec.structs.replace(
            options, num_cpus=None, num_gpus=0.0, memory=0.0, resources={}
        )
        deployments.append(msgspec.structs.replace(spec, options=options))
    return msgspec.structs.replace(app, deployments=tuple(deployments))


class _Door:
    """The line to the door of this very loop, for the page of metrics."""

    is_open: Final = True

    def __init__(self, door: HttpDoor, cluster: Cluster) -> None:
        self._door = door
        self._cluster = cluster

    async def call(self, _method: str, _body: Any = None) -> Any:
        return door_families(self._door) + router_families(self._cluster)
