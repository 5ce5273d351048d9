"""The controller's methods, typed: what api, launch and tools call."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, Self, TypeVar

import msgspec

from salver.core.ports import Resources
from salver.errors import WireError
from salver.spec.app import AppSpec
from salver.spec.ids import DeploymentId
from salver.spec.status import AppStatus, Event, ServeStatus
from salver.wire.messages import Hello
from salver.wire.rpc import Rpc
from salver.wire.streams import Dialler, Limits

__all__ = ("ControlClient", "ask")

T = TypeVar("T")
TRIES: Final = 3  # controllers that die, one after the other, while they are asked the same
PATIENCE_S: Final = 60.0  # with a controller whose code may still be imported, from a cold disk


class ControlClient:
    """One control link: `await ControlClient.dial(instance, secret)`, and `close()` at the end."""

    def __init__(self, dialler: Dialler | None) -> None:
        self._dialler = dialler or Dialler(limits=Limits(hello_s=PATIENCE_S))
        self._owns_dialler = dialler is None
        self._ended = asyncio.Event()
        self._events: list[asyncio.Queue[Event | None]] = []
        self._rpc = Rpc({"event": self._event}, on_close=self._closed)

    @classmethod
    async def dial(
        cls, instance: str, secret: bytes, *, name: str = "", dialler: Dialler | None = None
    ) -> Self:
        """Connect to the controller of the instance in this runtime directory.

        With a `dialler` that has a memory hub, `instance` may be a whole address ("memory:...").
        """
        client = cls(dialler)
        address = instance if ":" in instance else f"unix:{instance}/control.sock"
        hello = Hello(secret, "client", name or f"client-{secrets.token_hex(4)}", os.getpid())
        try:
            await client._dialler.dial(address, client._rpc, hello, secret)
        except BaseException:
            if client._owns_dialler:
                client._dialler.close()
            raise
        return client

    async def deploy(self, *apps: AppSpec, without: Sequence[str] = ()) -> None:
        """Want these apps from now on, and no more those `without`: all of it, or SalverError.

        Returns when the controller has noted it.
        """
        await self.call("deploy", {"apps": apps, "without": without})

    async def delete(self, name: str, *, wait: bool = True) -> None:
        """Stop an app; returns when it is gone, or sure to go. Unknown: nothing happens."""
        await self.call("delete", {"name": name, "wait": wait})

    async def wait(self, name: str) -> AppStatus:
        """Return when the app runs and every door knows its route, or when it has failed."""
        return await self._rpc.call("wait", {"name": name}, type=AppStatus)

    async def status(self) -> ServeStatus:
        """What is wanted and what is, now."""
        return await self._rpc.call("status", type=ServeStatus)

    async def wants(self, deployment: DeploymentId) -> bool:
        """Whether there is to be such a deployment, now."""
        return await self._rpc.call("wants", deployment, type=bool)

    async def ingress_of(self, name: str) -> DeploymentId | None:
        """The deployment that an app's handle calls; None: there is to be no such app."""
        found = await self.call("ingress", {"name": name})
        return None if found is None else msgspec.convert(found, DeploymentId)

    async def capacity(self) -> tuple[Resources, Resources]:
        """What the machine has, and what of it is free."""
        return await self._rpc.call("capacity", type=tuple[Resources, Resources])

    async def events(self) -> AsyncIterator[Event]:
        """Every change of state since the start of the controller, then as they happen.

        Ends with the link; a new controller tells its own story from the beginning.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._events.append(queue)
        try:
            await self.call("events")
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._events.remove(queue)

    async def shutdown(self) -> None:
        """Delete every app, callers first; returns when all are gone."""
        await self.call("shutdown")

    def close(self) -> None:
        """Close the link."""
        self._rpc.close()

    async def wait_closed(self) -> None:
        """Return when the link is closed, by whomever."""
        await self._ended.wait()

    async def call(self, method: str, body: Any = None) -> Any:
        """Any method of the controller, untyped. WireError: the link closed before the answer."""
        return await self._rpc.call(method, body)

    @property
    def is_open(self) -> bool:
        return self._rpc.is_open

    def _event(self, body: Any) -> None:
        event = msgspec.convert(body, Event)
        for queue in self._events:
            queue.put_nowait(event)

    def _closed(self, _rpc: Rpc, _error: Exception | None) -> None:
        for queue in self._events:
            queue.put_nowait(None)
        if self._owns_dialler:
            self._dialler.close()
        self._ended.set()


async def ask(instance: str, secret: bytes, action: Callable[[ControlClient], Awaitable[T]]) -> T:
    """Do it with the controller, and with the next one, should it die meanwhile.

    So it has to be something that can be asked twice, as all that `ControlClient` has. OSError:
    nobody listens there.
    """
    tried = 0
    while True:
        tried += 1
        control = None
        try:
            control = await ControlClient.dial(instance, secret)
            return await action(control)
        except WireError:
            if tried == TRIES or (control is not None and control.is_open):
                raise
        finally:
            if control is not None:
                control.close()
