"""Making connections: by address, over Unix sockets or within one loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from salver.errors import WireError
from salver.wire.connection import Connection, FrameHandler
from salver.wire.memory import MemoryHub
from salver.wire.shared import Limits, Shared

if TYPE_CHECKING:
    from salver.wire.arena import Arena
    from salver.wire.messages import Hello

__all__ = ("Dialler", "Limits", "Listener", "MemoryHub", "dial", "listen")

_BACKLOG: Final = 4096


class Listener:
    """Accepts connections until it is closed. Those that it made live on."""

    def __init__(self, address: str, stop: Callable[[], None]) -> None:
        self.address = address
        self._stop = stop

    def close(self) -> None:
        """Accept no more. Again: nothing happens."""
        stop, self._stop = self._stop, lambda: None
        stop()


class Dialler:
    """The connections of one process, in one loop, and the memory that they share.

    Addresses: "unix:/path" and, with a hub, "memory:name". Make one per process and loop: each has
    an arena of its own.
    """

    def __init__(
        self,
        hub: MemoryHub | None = None,
        *,
        limits: Limits | None = None,
        arena: Arena | None = None,
    ) -> None:
        self.hub = hub
        self.shared: Final = Shared(limits=limits, arena=arena)

    @property
    def arena(self) -> Arena:
        """Shared memory to receive into, or to build results in; `send_parts` takes its slabs."""
        return self.shared.arena

    async def dial(
        self,
        address: str,
        handler: FrameHandler,
        hello: Hello,
        secret: bytes,
        *,
        patient: bool = False,
    ) -> Connection:
        """Connect; returns after both HELLOs. OSError: nobody is there; WireError: refused.

        `patient`: wait as long as somebody listens there, even if nobody answers for hours.
        """
        loop = asyncio.get_running_loop()
        conn = Connection(handler, hello, secret=secret, dialled=True, shared=self.shared)
        conn.ready = loop.create_future()
        scheme, place = _split(address)
        if scheme == "memory":
            self._hub(address).connect(place, conn)
        else:
            try:
                await loop.create_unix_connection(lambda: conn, place)
            except OSError as error:  # as it is, it does not tell where
                raise OSError(error.errno, f"Nobody listens at {address}") from error
        limit_s = None if patient else self.shared.limits.hello_s
        try:
            async with asyncio.timeout(limit_s):
                await conn.ready
        except asyncio.CancelledError:
            conn.close()
            raise
        except TimeoutError:
            conn.close()
            raise WireError(f"{address} has not said HELLO within {limit_s:g} s.") from None
        except OSError as error:  # somebody was there, and ended
            raise WireError(f"{address} ended before it had said HELLO: {error}") from error
        return conn

    async def listen(
        self,
        address: str | socket.socket,
        make_handler: Callable[[], FrameHandler],
        hello: Hello,
        secret: bytes,
    ) -> Listener:
        """Accept at an address, or on a socket that listens already (and is then ours)."""

        def make() -> Connection:
            return Connection(
                make_handler(), hello, secret=secret, dialled=False, shared=self.shared
            )

        loop = asyncio.get_running_loop()
        if isinstance(address, socket.socket):
            server = await loop.create_unix_server(make, sock=address, backlog=_BACKLOG)
            return Listener(f"unix:{address.getsockname()}", server.close)
        scheme, place = _split(address)
        if scheme == "memory":
            hub = self._hub(address)
            hub.listen(place, make)
            return Listener(address, lambda: hub.unlisten(place))
        server = await loop.create_unix_server(make, place, backlog=_BACKLOG)

        def stop() -> None:
            server.close()
            with contextlib.suppress(OSError):
                Path(place).unlink()

        return Listener(address, stop)

    def close(self) -> None:
        """Give up the arena and the watches. Close the connections first."""
        self.shared.close()

    def _hub(self, address: str) -> MemoryHub:
        if self.hub is None:
            raise WireError(f"{address}: this process was given no memory hub.")
        return self.hub


async def dial(address: str, handler: FrameHandler, hello: Hello, secret: bytes) -> Connection:
    """One connection of its own; a process with several makes a `Dialler`."""
    return await Dialler().dial(address, handler, hello, secret)


async def listen(
    address: str | socket.socket,
    make_handler: Callable[[], FrameHandler],
    hello: Hello,
    secret: bytes,
) -> Listener:
    """A listener of its own; a process with several makes a `Dialler`."""
    return await Dialler().listen(address, make_handler, hello, secret)


def _split(address: str) -> tuple[str, str]:
    scheme, _, place = address.partition(":")
    if scheme not in ("unix", "memory") or not place:
        raise ValueError(f"{address!r} is no address; expected unix:/path or memory:name.")
    return scheme, place
