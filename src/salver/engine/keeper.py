"""The tiny parent of everything: binds, preloads, forks, listens for deaths, ends all at the end.

One thread, no event loop library, no user code, no accelerator. It decides nothing about replicas;
it only keeps the controller and the ingress alive. See `messages.py` for what it is told.
"""

from __future__ import annotations

import gc
import logging
import signal
import socket
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from select import select
from typing import Any, Final

import msgspec

from salver.core.ports import Exit, ProcessSpec
from salver.engine.children import Children
from salver.engine.config import KeeperConfig
from salver.engine.entries import Entries
from salver.engine.linux import become_subreaper, set_title
from salver.engine.listeners import bind_control, bind_tcp
from salver.engine.machine import detect
from salver.engine.messages import (
    Answers,
    Bound,
    Died,
    Drain,
    Drained,
    DrainLimit,
    Failed,
    FromController,
    Listed,
    ListProcesses,
    Living,
    OwnerHears,
    Refused,
    Restarted,
    Started,
    StartProcess,
    StopAll,
    Stopped,
    StopProcess,
)
from salver.engine.output import Output
from salver.engine.process import CAUGHT, current_environment
from salver.engine.runtime import hold_runtime, remove_runtime
from salver.engine.selecting import Loop
from salver.engine.services import TRIES, Services
from salver.engine.talk import ControllerLink
from salver.errors import EngineError
from salver.telemetry.logging import Speaker, formatter_of

__all__ = ("Keeper", "main")

DRAIN_LIMIT_S: Final = 30.0  # until the controller has said how long its deployments may take
TERM_LIMIT_S: Final = 3.0  # between SIGTERM and SIGKILL
MESSAGE: Final = 1 << 20
DOORS: Final = {"ingress": "http", "grpc": "grpc"}  # and the socket that each is given


class Keeper:
    """One instance's keeper, from the owner's first word to the last child's death.

    Garbage is not collected before all is imported: children share what is there, untouched.
    """

    def __init__(self, owner: socket.socket, config: KeeperConfig) -> None:
        self._owner = owner
        self._config = config
        self._loop = Loop()
        self._output = Output(self._loop, 2)
        self._control = bind_control(config.instance)
        self._tcp = {listen.name: bind_tcp(listen) for listen in config.listen}
        self._stopping = False
        self._drained = False
        self._trouble = ""  # why there will be no instance

    def run(self) -> int:
        """Serve until the owner asks to stop or is gone."""
        self._tell(Bound({name: s.getsockname()[:2] for name, s in self._tcp.items()}))
        self._entries = Entries(self._config)
        self._children = Children(self._output, self._entries, self._config, self._died)
        self._services = Services(self._config, self._loop, self._launch_service)
        self._link = ControllerLink(self._loop, self._heard)
        self._machine = detect(self._config, current_environment())
        become_subreaper()
        self._catch_signals()
        self._loop.on_readable(self._owner.fileno(), self._owner_spoke)
        try:
            self._begin()
        except EngineError as error:
            self._give_up(str(error))
        self._loop.run()
        self._children.end_rest()
        self._output.flush(1.0)
        if self._trouble:
            raise EngineError(self._trouble)
        self._tell(Stopped())
        remove_runtime(self._config.instance)
        return 0

    def _begin(self) -> None:
        """Import and fork, kind by kind: those forked first begin while the rest is imported."""
        self._entries.preload()
        for kind in self._config.entries:
            self._entries.find(kind)
            gc.collect()
            gc.freeze()  # a collection in a child must not touch, and so copy, what is shared
            self._services.start(kind)
            self._loop.attend()
        gc.enable()

    def _give_up(self, trouble: str) -> None:
        self._trouble = trouble
        self._end_at_once()

    # ---- the owner

    def _tell(self, message: OwnerHears) -> None:
        try:
            self._owner.send(msgspec.json.encode(message), socket.MSG_DONTWAIT)
        except OSError:
            return  # gone, which the next read notices, or not listening, which is its own affair

    def _owner_spoke(self) -> None:
        try:
            data = self._owner.recv(MESSAGE)
        except ConnectionError:  # it died before it had read all that we told it
            data = b""
        if not data:
            self._loop.on_readable(self._owner.fileno(), None)
            self._end_at_once()
        else:
            self._stop(msgspec.json.decode(data, type=StopAll).timeout_s)

    def _catch_signals(self) -> None:
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        for number in CAUGHT:
            signal.signal(number, lambda *_: None)
        self._loop.on_readable(self._wake_in.fileno(), self._signalled)

    def _signalled(self) -> None:
        numbers = set(self._wake_in.recv(4096))
        self._children.reap()
        if signal.SIGTERM in numbers:
            self._stop(None)
        self._end_if_alone()

    # ---- stopping

    def _stop(self, timeout_s: float | None) -> None:
        """Drain if there is a controller to do it; then SIGTERM; then SIGKILL."""
        if self._stopping:
            return
        self._stopping = True
        self._timeout = timeout_s
        for listener in self._tcp.values():
            listener.close()  # the doors close theirs, and whoever dials then is refused at once
        if self._link.connected and timeout_s != 0:
            # The doors finish what they have begun and take nothing new, while replicas still live;
            # they know that before the apps go, or they would say that there are none.
            for kind in DOORS:
                self._children.stop_kind(kind)
            self._link.send(Drain())
            limit = DRAIN_LIMIT_S if timeout_s is None else timeout_s
            self._patience = self._loop.later(limit, self._terminate)
        else:
            self._terminate()

    def _terminate(self) -> None:
        if self._drained:
            return
        self._drained = True
        self._children.stop_all(force=False)
        self._loop.later(TERM_LIMIT_S, self._end_at_once)
        self._end_if_alone()

    def _end_at_once(self) -> None:
        self._stopping = self._drained = True
        self._children.stop_all(force=True)
        self._end_if_alone()

    def _end_if_alone(self) -> None:
        if self._drained and not self._children.living():
            self._loop.stop()

    # ---- children

    def _launch_service(self, kind: str, name: str) -> None:
        if self._stopping:
            return
        fds: dict[str, int] = {}
        settings: dict[str, Any] = {}
        if kind == "controller":
            fds = {"control": self._control.fileno(), "keeper": self._link.child_end()}
            machine = msgspec.to_builtins(self._machine)
            settings = {"machine": machine, "doors": self._services.doors}
        else:
            socket_name = DOORS[kind]
            fds = {socket_name: self._tcp[socket_name].fileno()}
        self._children.start(ProcessSpec(name, kind), fds, settings)
        if kind == "controller":
            self._link.connect()

    def _died(self, exit_: Exit, lived: float) -> None:
        if exit_.kind == "controller":
            self._link.disconnect()
            if self._stopping:
                self._terminate()
        else:
            self._link.send(Died(exit_), keep=True)
        if self._services.hopeless(exit_) and not self._stopping:
            self._give_up(_no_controller(exit_))
        elif self._services.owns(exit_.id) and not self._stopping:
            delay = self._services.again(exit_.id, lived)
            self._warn(f"{exit_.id} ended: {exit_.reason}; starting it again")
            self._tell(Restarted(exit_.id, exit_.reason, delay))

    def _warn(self, text: str) -> None:
        record = logging.makeLogRecord(
            {"levelname": "WARNING", "msg": text, "name": "salver.keeper"}
        )
        lines = formatter_of(self._config.logging, Speaker("keeper", "keeper"))
        self._output.say("keeper", lines.format(record))

    # ---- the controller

    def _heard(self, message: FromController) -> None:
        match message:
            case StartProcess(ref, process):
                self._start(ref, process)
            case StopProcess(id_, force):
                self._children.stop(id_, force=force)
            case ListProcesses(ref):
                for status in self._children.statuses():
                    self._link.send(Living(ref, status))
                self._link.send(Listed(ref))
            case Answers():
                self._services.answered = True
            case DrainLimit(seconds) if self._stopping and not self._drained:
                if self._timeout is None:
                    self._patience.cancel()
                    self._patience = self._loop.later(seconds, self._terminate)
            case Drained() if self._stopping:
                self._terminate()

    def _start(self, ref: int, process: ProcessSpec) -> None:
        try:
            if self._drained:
                raise EngineError("The instance is stopping.")
            self._link.send(Started(ref, self._children.start(process)))
        except (EngineError, OSError) as error:
            self._link.send(Refused(ref, str(error)))


def _no_controller(exit_: Exit) -> str:
    cause = f"{exit_.reason}: {exit_.said.rstrip('.')}" if exit_.said else exit_.reason
    return (
        f"The controller does not start; it was tried {TRIES} times, and ended with {cause}. The "
        "log above has all that it said. It keeps its state where temporary files go (TMPDIR says "
        "where); `pip install --force-reinstall salver` mends a broken package."
    )


def main(owner_fd: int, early: Iterable[str] = ()) -> int:
    """Entry of the keeper's process: the owner's first message is the KeeperConfig, as JSON.

    `early`: modules to import as long as that has not come.
    """
    set_title("salver:keeper", "salver: keeper")
    owner = socket.socket(fileno=owner_fd)
    for module in early:
        if select([owner], [], [], 0)[0]:
            break
        with suppress(Exception):  # which is told when it is needed
            import_module(module)
    data = owner.recv(MESSAGE)
    if not data:
        return 1
    config = msgspec.json.decode(data, type=KeeperConfig)
    _held = hold_runtime(config.instance)  # until the end of this process
    try:
        return Keeper(owner, config).run()
    except EngineError as error:
        with suppress(OSError):  # before anybody can find the control socket gone, and ask why
            owner.send(msgspec.json.encode(Failed(str(error))))
        remove_runtime(config.instance)  # nobody else does it where the owner is gone, too
        return 1
