"""The keeper's end of its line to the controller; outlives every controller."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from salver.engine.messages import FromController, FromKeeper
from salver.engine.selecting import Loop

__all__ = ("ControllerLink",)

MESSAGE: Final = 1 << 20
KEPT: Final = 10_000  # messages remembered for the next controller
UNREAD_S: Final = 1.0  # what was sent so shortly before a controller's death is told again


class ControllerLink:
    """Messages to and from whichever controller lives. Never blocks."""

    def __init__(self, loop: Loop, heard: Callable[[FromController], None]) -> None:
        self._loop = loop
        self._heard = heard
        self._decoder = msgspec.msgpack.Decoder(FromController)
        self._socket: socket.socket | None = None
        self._child: socket.socket | None = None
        self._waiting: deque[bytes] = deque()
        self._kept: deque[tuple[float, bytes]] = deque(maxlen=KEPT)
        self._lost_at = 0.0

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def child_end(self) -> int:
        """A fresh pair; this end of it is for the controller about to be forked."""
        self.disconnect()
        self._socket, self._child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        return self._child.fileno()

    def connect(self) -> None:
        """The controller is forked: talk to it."""
        if self._child is None or self._socket is None:
            return
        self._child.close()
        self._child = None
        self._loop.on_readable(self._socket.fileno(), self._read)
        since = self._lost_at - UNREAD_S
        self._waiting.extend(data for at, data in self._kept if at >= since)
        self._write()

    def disconnect(self) -> None:
        """The controller is dead."""
        if self._socket is not None:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
            self._lost_at = time.monotonic()
        self._waiting.clear()

    def send(self, message: FromKeeper, *, keep: bool = False) -> None:
        """`keep`: if this one is gone, or may not have read it before it died, tell the next."""
        data = msgspec.msgpack.encode(message)
        if keep:
            self._kept.append((time.monotonic(), data))
        if self._socket is None:
            return
        self._waiting.append(data)
        self._write()

    def _write(self) -> None:
        sock = self._socket
        if sock is None:
            return
        while self._waiting:
            try:
                sock.send(self._waiting[0])
            except BlockingIOError:
                self._loop.on_writable(sock.fileno(), self._write)
                return
            except OSError:
                return  # it is dying; SIGCHLD follows
            self._waiting.popleft()
        self._loop.on_writable(sock.fileno(), None)

    def _read(self) -> None:
        sock = self._socket
        if sock is None:
            return
        try:
            data = sock.recv(MESSAGE)
        except OSError:
            data = b""
        if not data:
            self._loop.on_readable(sock.fileno(), None)
            return
        self._heard(self._decoder.decode(data))
