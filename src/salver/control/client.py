"""The controller's methods, typed: what api, launch and tools call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from salver.core.ports import Resources
from salver.spec.app import AppSpec
from salver.spec.status import AppStatus, Event, ServeStatus

__all__ = ("ControlClient",)


class ControlClient:
    """One control link. Made by `await ControlClient.dial(instance)`; close it with `close()`."""

    @classmethod
    async def dial(cls, instance: str, secret: bytes, *, name: str = "client") -> ControlClient:
        """Connect to the controller of the instance in this runtime directory."""
        raise NotImplementedError

    async def deploy(self, app: AppSpec) -> None:
        """Want this app from now on; returns when the controller has noted it."""
        raise NotImplementedError

    async def delete(self, name: str) -> None:
        """Stop an app; returns when it is gone. Unknown: nothing happens."""
        raise NotImplementedError

    async def wait(self, name: str) -> AppStatus:
        """Return when the app runs and every door knows its route, or when it has failed."""
        raise NotImplementedError

    async def status(self) -> ServeStatus:
        """What is wanted and what is, now."""
        raise NotImplementedError

    async def capacity(self) -> tuple[Resources, Resources]:
        """What the machine has, and what of it is free."""
        raise NotImplementedError

    def events(self) -> AsyncIterator[Event]:
        """Every change of state since the start of the controller, then as they happen."""
        raise NotImplementedError

    async def shutdown(self) -> None:
        """Delete every app, callers first; returns when all are gone."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the link."""
        raise NotImplementedError

    async def call(self, method: str, body: Any = None) -> Any:
        """Any method of the controller, untyped."""
        raise NotImplementedError
