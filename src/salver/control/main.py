"""The controller's process."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any, Final, Protocol

import uvloop

from salver.control.controller import Controller
from salver.control.inference import Inference
from salver.control.metrics import Metrics
from salver.control.publish import Watcher
from salver.control.repository import DeploymentRepository
from salver.control.service import Session
from salver.control.store import SqliteStore
from salver.core.ports import Engine
from salver.spec.logging import LoggingConfig
from salver.telemetry.logging import Speaker, configure
from salver.wire.messages import Hello
from salver.wire.streams import Dialler

__all__ = ("Seat", "main", "serve")


_SAID: Final = ("doors", "stats_timeout_s")  # of a controller, in its process's settings


class Seat(Protocol):
    """What an engine gives to the controller's process."""

    @property
    def id(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def fds(self) -> dict[str, int]: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def logging(self) -> LoggingConfig: ...
    def open_engine(self) -> Engine: ...
    def secret(self) -> bytes: ...


def main(seat: Seat) -> None:
    """Control this instance until the process is ended."""
    configure(seat.logging, Speaker("controller", seat.id))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(seat))


async def serve(seat: Seat) -> None:
    """Open the controller, then answer: who dials in the meantime waits in the backlog."""
    secret = seat.secret()
    store = SqliteStore(seat.instance)
    said = {name: seat.settings[name] for name in _SAID if name in seat.settings}
    engine = seat.open_engine()
    controller = Controller(engine, store, **said)
    metrics = Metrics(controller.events)
    inference = Inference(DeploymentRepository(controller), store)
    controller.publisher.add(Watcher("models", inference.heard, door=False))
    await controller.open()
    dialler = Dialler()
    listener = await dialler.listen(
        socket.socket(fileno=seat.fds["control"]),
        lambda: Session(controller, metrics, inference).rpc,
        Hello(b"", "controller", seat.id, os.getpid()),
        secret,
    )
    engine.answers()
    try:
        await asyncio.Event().wait()
    finally:
        listener.close()
        await controller.close()
        store.close()
