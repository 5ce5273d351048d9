"""What the controller answers on its socket: to replicas, to directories, to api and tools."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from salver.control.controller import Controller
from salver.control.inference import Inference
from salver.control.metrics import Metrics
from salver.control.publish import Watcher
from salver.errors import SalverError
from salver.spec.app import AppSpec
from salver.spec.ids import DeploymentId
from salver.spec.start import Attachment
from salver.spec.status import Delta, Event, Load, ReplicaFacts
from salver.wire.rpc import Rpc

__all__ = ("Session",)


class Named(msgspec.Struct, frozen=True):
    name: str


class Deploy(msgspec.Struct, frozen=True):
    apps: list[AppSpec]
    without: list[str] = []


class Delete(Named, frozen=True):
    wait: bool = True  # until it is gone


class Asked(msgspec.Struct, frozen=True):
    op: str
    body: dict[str, Any] = {}


class Applied(msgspec.Struct, frozen=True):
    version: int


class Unhealthy(msgspec.Struct, frozen=True):
    message: str


class Session:
    """One connection to the controller, whoever is at the other end."""

    def __init__(self, controller: Controller, metrics: Metrics, inference: Inference) -> None:
        self._controller = controller
        self._metrics = metrics
        self._inference = inference
        self._watcher: Watcher | None = None
        self._replica = ""
        self._forget_events: Callable[[], None] | None = None
        self.rpc = Rpc(
            {
                "attach": self._attach,
                "unhealthy": self._unhealthy,
                "facts": self._facts,
                "watch": self._watch,
                "applied": self._applied,
                "load": self._load,
                "deploy": self._deploy,
                "delete": self._delete,
                "wait": self._wait,
                "status": self._status,
                "wants": self._wants,
                "ingress": self._ingress,
                "events": self._events,
                "capacity": self._capacity,
                "metrics": self._page,
                "inference": self._ask_models,
                "shutdown": self._shutdown,
            },
            on_close=self._closed,
        )

    # ---- replicas

    def _attach(self, body: Any) -> None:
        attachment = msgspec.convert(body, Attachment)
        self._replica = attachment.id
        self._controller.attached(attachment, self.rpc)
        self._metrics.joined(attachment.id, self.rpc)
        self._inference.joined(attachment.id, self.rpc)

    def _unhealthy(self, body: Any) -> None:
        self._controller.unhealthy(self._replica, msgspec.convert(body, Unhealthy).message)

    def _facts(self, body: Any) -> None:
        self._controller.publisher.note(msgspec.convert(body, ReplicaFacts))

    # ---- directories

    def _watch(self, _: Any) -> None:
        conn = self.rpc.conn
        if self._watcher is not None or conn is None or conn.peer is None:
            raise SalverError("This link watches already.")
        peer = conn.peer
        self._watcher = Watcher(peer.name, self._changed, door=peer.role == "ingress")
        self._controller.publisher.add(self._watcher)
        if self._watcher.door:
            self._metrics.joined(peer.name, self.rpc)

    def _applied(self, body: Any) -> None:
        if self._watcher is not None:
            version = msgspec.convert(body, Applied).version
            self._controller.publisher.applied(self._watcher, version)

    def _load(self, body: Any) -> None:
        if self._watcher is not None:
            self._controller.scaling.told(self._watcher.name, msgspec.convert(body, list[Load]))

    def _changed(self, delta: Delta) -> None:
        self.rpc.notify("changed", delta)

    # ---- api and tools

    def _deploy(self, body: Any) -> None:
        asked = msgspec.convert(body, Deploy)
        self._controller.deploy(*asked.apps, without=asked.without)

    async def _delete(self, body: Any) -> None:
        asked = msgspec.convert(body, Delete)
        if asked.wait:
            await self._controller.delete(asked.name)
        else:
            self._controller.discard(asked.name)

    async def _wait(self, body: Any) -> Any:
        return await self._controller.wait(msgspec.convert(body, Named).name)

    def _status(self, _: Any) -> Any:
        return self._controller.status()

    def _wants(self, body: Any) -> bool:
        return self._controller.wants(msgspec.convert(body, DeploymentId))

    def _ingress(self, body: Any) -> Any:
        return self._controller.ingress_of(msgspec.convert(body, Named).name)

    async def _capacity(self, _: Any) -> Any:
        return await self._controller.capacity()

    async def _ask_models(self, body: Any) -> Any:
        asked = msgspec.convert(body, Asked)
        return await self._inference.ask(asked.op, asked.body)

    async def _page(self, _: Any) -> str:
        return await self._metrics.page()

    async def _shutdown(self, _: Any) -> None:
        await self._controller.shutdown()

    def _events(self, _: Any) -> None:
        if self._forget_events is None:
            self._forget_events = self._controller.events.listen(self._event)

    def _event(self, event: Event) -> None:
        self.rpc.notify("event", event)

    def _closed(self, *_: Any) -> None:
        if self._watcher is not None:
            self._controller.publisher.remove(self._watcher)
            self._metrics.left(self._watcher.name, self.rpc)
            self._controller.scaling.gone(self._watcher.name)
        if self._replica:
            self._controller.publisher.forget(self._replica)  # should it live, it says it again
            self._controller.detached(self._replica, self.rpc)
            self._metrics.left(self._replica, self.rpc)
            self._inference.left(self._replica, self.rpc)
        if self._forget_events is not None:
            self._forget_events()
