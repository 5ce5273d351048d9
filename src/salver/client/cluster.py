"""What one process knows of one instance of Salver: its loop, its routers, its directory."""

from __future__ import annotations

import asyncio
from typing import Any

from salver.client.directory import Directory
from salver.client.router import Router
from salver.spec.ids import DeploymentId

__all__ = ("Cluster",)


class Cluster:
    """One process's side of one instance. Made on its home loop, or by `Cluster.at` elsewhere."""

    address: str
    loop: asyncio.AbstractEventLoop
    directory: Directory
    name: str

    def __init__(
        self,
        address: str,
        loop: asyncio.AbstractEventLoop,
        *,
        secret: bytes,
        name: str,
        role: str = "caller",
        dialler: Any = None,
        watch: bool = True,
    ) -> None:
        """`address` is the runtime directory ("memory:..." for the inline engine, with `dialler`).

        `watch=False`: no control link; whoever made it feeds `directory.apply(delta)` itself.
        """
        raise NotImplementedError

    @classmethod
    def at(cls, address: str) -> Cluster:
        """This process's cluster for that instance; made, with a thread of its own, on first use."""
        raise NotImplementedError

    def adopt(self) -> None:
        """Be what `Cluster.at(address)` gives in this process (replicas, ingress, inline)."""
        raise NotImplementedError

    def router(self, deployment: DeploymentId, *, eager: bool = False) -> Router:
        """The router of a deployment in this process."""
        raise NotImplementedError

    def close(self) -> None:
        """Close every link; calls that wait fail. Ends the thread, if there is one."""
        raise NotImplementedError
