"""The process behind the gRPC door: HTTP/2 in front, the methods by their paths, calls by routers.

grpc, whose generated code is used here, is imported nowhere near the keeper: its threads and a fork
do not go together.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION

from salver.calls.cluster import Cluster
from salver.calls.metrics import router_families
from salver.doors.descriptors import make_room
from salver.doors.grpc.calls import Upstream
from salver.doors.grpc.door import GrpcDoor
from salver.doors.grpc.generated import handler_of
from salver.doors.grpc.head import Handler, RpcHead, read_head
from salver.doors.grpc.health import Health
from salver.doors.grpc.inference import InferenceService
from salver.doors.grpc.listing import SERVICE as LISTING
from salver.doors.grpc.listing import Listing
from salver.doors.grpc.metrics import grpc_families
from salver.doors.grpc.reflection import Reflection
from salver.doors.grpc.rpc import Rpc
from salver.doors.http2.server import Http2Server
from salver.doors.inference import InferenceServer
from salver.doors.tls import context_of
from salver.engine.seat import Seat
from salver.errors import NoMethodError
from salver.oip.proto import OLD_REPOSITORY, POOL
from salver.oip.proto import SERVICE as INFERENCE
from salver.replica.grpc.services import Recorder, RpcMethod, load_services
from salver.replica.grpc.status import name_of
from salver.spec.grpc import GrpcDoorSettings, gRPCOptions
from salver.spec.tls import TlsFiles

if TYPE_CHECKING:
    from salver.doors.http2.headers import Fields

__all__ = ("GrpcServer", "serve")

_log = logging.getLogger("salver.ingress")
_access = logging.getLogger("salver.access")
_CLIENTS: Final = 65536


async def serve(seat: Seat) -> None:
    """Serve until SIGTERM; then answer what is under way, and end."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    told = msgspec.convert(seat.settings, GrpcDoorSettings)
    with suppress(OSError):
        os.chdir(told.cwd or ".")
    sys.path[:0] = [entry for entry in told.sys_path if entry not in sys.path]
    # Request ids are made of the name: no other door, of another instance neither, has the same.
    name = f"{seat.id}-{secrets.token_hex(4)}"
    cluster = Cluster(seat.instance, loop, secret=seat.secret(), name=name, role="ingress")
    cluster.adopt(for_good=True)
    door = GrpcDoor(told.options, loop, lambda deployment: cluster.router(deployment, eager=True))
    door.new_request_id = cluster.new_request_id
    door.is_up = lambda: cluster.directory.up
    if seat.logging.enable_access_log:
        door.access = _log_access
    cluster.directory.methods["metrics"] = lambda _: grpc_families(door) + router_families(cluster)
    services = load_services(told.options.grpc_servicer_functions)
    inference = _inference(door, cluster, told)
    server = GrpcServer(door, told.options, services, inference, make_room(_CLIENTS))

    def changed() -> None:
        door.apply(cluster.directory.views.values())
        server.changed()

    # It listens before it hears of any app: who is told that an app is there can call it.
    await server.start(socket.socket(fileno=seat.fds["grpc"]), told.options)
    cluster.directory.on_change(changed)
    gc.collect()
    gc.freeze()
    await stop.wait()
    _log.info("closing: %d gRPC calls", door.stats().in_flight)
    await server.drain(told.options.drain_timeout_s)
    cluster.close()


def _log_access(path: str, code: int, request_id: str) -> None:
    """A line for what no replica has answered; theirs they write themselves."""
    status = name_of(code)
    about = {
        "request_id": request_id,
        "method": "GRPC",
        "path": path,
        "status": status,
        "serve_access_log": True,
    }
    _access.info("GRPC %s %s", path, status, extra=about)


def _inference(door: GrpcDoor, cluster: Cluster, told: GrpcDoorSettings) -> InferenceServer | None:
    """What the door knows of models; None: it does not speak of them."""
    if not told.options.infers:
        return None
    directory = cluster.directory

    async def ask(op: str, body: Mapping[str, Any]) -> Any:
        return await directory.ask("inference", {"op": op, "body": body})

    server = InferenceServer(
        directory.views.get, ask, lambda: bool(door.unready), shares_memory=told.shares_memory
    )
    directory.on_models(
        lambda views: server.apply(views, lambda of: cluster.router(of, eager=True))
    )
    return server


class GrpcServer:
    """One listening server and what it answers."""

    def __init__(
        self,
        door: GrpcDoor,
        options: gRPCOptions,
        rpcs: Mapping[str, RpcMethod],
        inference: InferenceServer | None,
        clients: int,
    ) -> None:
        self._door = door
        self._inference: InferenceService | None = None
        handlers = {path: _handler(door, rpc) for path, rpc in rpcs.items()}
        services = sorted({rpc.service for rpc in rpcs.values()})
        pools = [descriptor_pool.Default()]
        if inference is not None and INFERENCE not in services:  # a user's own comes first
            self._inference = InferenceService(door, inference, options.inference_stream)
            handlers = self._inference.handlers() | handlers
            services = sorted({*services, INFERENCE, OLD_REPOSITORY})
            pools.append(POOL)
        self._health = Health(door, services)
        self._nobody = Handler(self._refuse, takes_stream=True)
        listing = Listing(door)
        recorder = Recorder()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, recorder)
        self._reflection: Reflection | None = None
        if options.enable_reflection:
            names = (*services, HEALTH, LISTING, REFLECTION)
            self._reflection = Reflection(names, (*pools, listing.pool))
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(self._reflection, recorder)
        served = {path: handler_of(one) for path, one in recorder.handlers.items()}
        self._handlers = served | listing.handlers() | handlers
        longest = options.max_receive_message_bytes
        self._server = Http2Server(door.loop, self._parser, partial(Rpc, longest=longest), clients)

    async def start(self, listener: socket.socket, files: TlsFiles) -> None:
        """Let clients in."""
        listener.setblocking(False)
        await self._server.listen(listener, context_of(files, protocol="h2"))

    def changed(self) -> None:
        """The apps are not what they were."""
        self._health.changed()

    async def drain(self, limit_s: float) -> None:
        """Take nothing new, answer what is under way, and cut what takes too long."""
        self._door.draining = True
        self._health.changed()
        if self._reflection is not None:
            self._reflection.close()
        if self._inference is not None:
            self._inference.close()
        await self._server.drain(limit_s)

    def _parser(self, peer: Any) -> Callable[[Fields], RpcHead]:
        """What makes heads of the headers of a client at this address."""
        host, port, *v6 = peer
        name = f"ipv6:%5B{host}%5D:{port}" if v6 else f"ipv4:{host}:{port}"

        def parse(fields: Fields) -> RpcHead:
            head = read_head(fields, name)
            head.handler = self._handlers.get(head.path) or self._nobody
            return head

        return parse

    def _refuse(self, rpc: Rpc, _message: bytes) -> None:
        """Answer for a method that is not there."""
        path = rpc.head.path
        text = f"There is no method {path:.200}."
        if near := get_close_matches(path[:200], self._handlers, 1):
            text += f" Did you mean {near[0]}?"

        async def say_so() -> bytes:
            raise NoMethodError(text)

        rpc.run(self._door.answer(rpc, say_so))


def _handler(door: GrpcDoor, rpc: RpcMethod) -> Handler:
    """Messages pass through as bytes: the replica reads and writes them."""

    def unary_stream(rpc: Rpc, message: bytes) -> None:
        rpc.run(door.stream(rpc, message))

    def stream_unary(rpc: Rpc, message: bytes) -> None:
        door.unary(rpc, message, Upstream(rpc))

    def stream_stream(rpc: Rpc, message: bytes) -> None:
        rpc.run(door.stream(rpc, message, Upstream(rpc)))

    if rpc.takes_stream:
        return Handler(stream_stream if rpc.gives_stream else stream_unary, takes_stream=True)
    return Handler(unary_stream if rpc.gives_stream else door.unary)
