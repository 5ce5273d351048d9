"""The process behind the HTTP door: a socket from the keeper, routes from the controller."""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
import signal
import socket
import ssl
from collections.abc import Coroutine, Mapping
from typing import Any, Final

import msgspec
import uvloop

from salver.calls.cluster import Cluster
from salver.calls.metrics import router_families
from salver.doors.descriptors import make_room
from salver.doors.door import HttpDoor
from salver.doors.head import Head
from salver.doors.metrics import door_families
from salver.doors.tls import context_of
from salver.engine.seat import Seat
from salver.spec.http import HttpSettings
from salver.telemetry.logging import Speaker, configure

__all__ = ("listen", "main", "serve")

_BACKLOG: Final = 4096
_log = logging.getLogger("salver.ingress")
_access = logging.getLogger("salver.access")


def main(seat: Seat) -> None:
    """Serve until SIGTERM; then answer what is under way, and end."""
    configure(seat.logging, Speaker("ingress", seat.id))
    uvloop.run(serve(seat))


async def serve(seat: Seat) -> None:
    """What `main` does, on a loop that is there."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    settings = msgspec.convert(seat.settings, HttpSettings)
    allowed = make_room(settings.max_connections)
    settings = msgspec.structs.replace(settings, max_connections=allowed)
    # Request ids are made of the name: no other door, of another instance neither, has the same.
    name = f"{seat.id}-{secrets.token_hex(4)}"
    cluster = Cluster(seat.instance, loop, secret=seat.secret(), name=name, role="ingress")
    cluster.adopt(for_good=True)
    directory = cluster.directory

    async def ask(op: str, body: Mapping[str, Any]) -> Any:
        return await directory.ask("inference", {"op": op, "body": body})

    door = HttpDoor.of(cluster, settings, lambda: directory.ask("metrics"), ask)
    if seat.logging.enable_access_log:
        door.access = _log_access
    directory.methods["metrics"] = lambda _: door_families(door) + router_families(cluster)
    # Whoever dials in the meantime waits in the backlog of the socket, which the keeper holds.
    tls = context_of(settings, settings.ssl_keyfile_password)
    if await _before(stop, door.routed()):
        server = await listen(door, socket.socket(fileno=seat.fds["http"]), tls)
        await _until_told(door, server, stop)
    cluster.close()


def _log_access(head: Head | None, status: int, request_id: str) -> None:
    """A line for what no replica has answered; theirs they write themselves."""
    if head is not None and head.path.startswith("/-/"):
        return
    method, path = ("-", "-") if head is None else (head.method.decode("latin-1"), head.path)
    about = {
        "request_id": request_id,
        "method": method,
        "path": path,
        "status": str(status),
        "serve_access_log": True,
    }
    _access.info("%s %s %s", method, path, status, extra=about)


async def _before(stop: asyncio.Event, event: Coroutine[Any, Any, None]) -> bool:
    """Wait for the event; False: it is to stop first."""
    waits = [asyncio.ensure_future(event), asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return not stop.is_set()


async def _until_told(door: HttpDoor, server: asyncio.Server, stop: asyncio.Event) -> None:
    """Serve; at the end answer what is under way."""
    # What is there now stays; requests make no cycles for the collector to look for among it.
    gc.collect()
    gc.freeze()
    await stop.wait()
    under_way = _under_way(door)
    if any(under_way):
        _log.info("closing: %d connections, %d requests", *under_way)
    server.close()
    await door.drain()


async def listen(
    door: HttpDoor, listener: socket.socket, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Let clients in. Closing the server closes this process's end of the socket only."""
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    limit = door.settings.header_timeout_s if tls is not None else None
    return await loop.create_server(
        door.protocol, sock=listener, backlog=_BACKLOG, ssl=tls, ssl_handshake_timeout=limit
    )


def _under_way(door: HttpDoor) -> tuple[int, int]:
    stats = door.stats()
    return stats.connections, stats.in_flight
