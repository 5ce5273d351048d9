"""The owner's end of a keeper: start it, hear from it, stop it. Blocking; used by launch."""

from __future__ import annotations

import socket
import subprocess
from contextlib import suppress
from typing import Final

import msgspec

from salver.engine.config import KeeperConfig
from salver.engine.messages import Bound, Failed, OwnerHears, StopAll
from salver.engine.orphans import sweep
from salver.engine.runtime import remove_runtime
from salver.engine.spawn import Spawned
from salver.errors import EngineError

__all__ = ("KeeperProcess",)

MESSAGE: Final = 1 << 20
PATIENCE_S: Final = 10.0  # for a keeper that has closed its socket, or been told to end at once


class KeeperProcess:
    """A running keeper. It dies with everything it started when this process dies or closes it."""

    def __init__(self, spawned: Spawned, instance: str) -> None:
        self._process, self._socket = spawned.take()
        self._instance = instance
        self._decoder = msgspec.json.Decoder(OwnerHears)
        self._addresses: dict[str, tuple[str, int]] = {}
        self._bound = False
        self._trouble: EngineError | None = None

    @classmethod
    def start(cls, config: KeeperConfig, spawned: Spawned | None = None) -> KeeperProcess:
        """Tell a keeper what to keep. `spawned`: its process, where that is on its way already."""
        keeper = cls(spawned or Spawned(), config.instance)
        told = msgspec.json.encode(config)
        try:
            with suppress(ConnectionError):  # it has ended, which is heard next
                keeper._socket.send(told)
        except OSError as error:
            keeper.kill()
            raise EngineError(
                f"What the keeper is to be told takes {len(told)} bytes, and does not fit into a "
                f"message ({error.strerror}). Give it less: fewer or shorter variables and paths."
            ) from error
        return keeper

    def wait_bound(self) -> None:
        """Return once it has bound its addresses; EngineError: it could not, and has ended."""
        try:
            while not self._bound and self._trouble is None:
                self.poll()
        except BaseException:  # Ctrl-C, say
            self.kill()
            raise
        if self._trouble is not None:
            raise self._trouble

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where it listens, by `Listen.name`, with the real port."""
        return self._addresses

    def fileno(self) -> int:
        """Readable when the keeper has something to say, or has ended: then ask for `trouble`."""
        return self._socket.fileno()

    def poll(self) -> OwnerHears | None:
        """The next thing it says. None: it has ended (what it left behind is cleared away)."""
        message = self._receive()
        self._heed(message)
        return message

    def trouble(self) -> EngineError | None:
        """Why it has ended, as far as it has said; None: it lives. Does not wait for news."""
        with suppress(BlockingIOError):
            while self._trouble is None and self._socket.fileno() >= 0:
                self._heed(self._receive(socket.MSG_DONTWAIT))
        return self._trouble

    def wait_ended(self) -> EngineError:
        """Return when it has ended, in whatever way: why, as far as it has said."""
        while self._trouble is None:
            self.poll()
        return self._trouble

    def stop(self, timeout_s: float | None = None) -> None:
        """Drain, end everything, return when it is gone. None: as long as the deployments allow."""
        try:
            self._socket.send(msgspec.json.encode(StopAll(timeout_s)))
        except OSError:
            self._bury()
            return
        while self._receive() is not None:
            pass
        self._bury()

    def kill(self) -> None:
        """End everything at once, return when it is gone. Again: nothing happens."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._bury()

    def _receive(self, flags: int = 0) -> OwnerHears | None:
        try:
            data = self._socket.recv(MESSAGE, flags)
        except BlockingIOError:
            raise
        except OSError:
            return None
        return self._decoder.decode(data) if data else None

    def _heed(self, message: OwnerHears | None) -> None:
        if isinstance(message, Bound):
            self._bound, self._addresses = True, message.addresses
        elif message is None or isinstance(message, Failed):
            self._trouble = self._trouble or self._ended(message)

    def _ended(self, message: OwnerHears | None) -> EngineError:
        self._bury()
        if isinstance(message, Failed):
            return EngineError(message.message)
        code = self._process.returncode
        return EngineError(
            f"The keeper has ended unexpectedly, and everything with it ({_told(code)})."
        )

    def _bury(self) -> None:
        """Wait for its end; if it was killed, end what it could not end itself."""
        if self._socket.fileno() < 0:
            return
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:  # stopped, or stuck: its children go with it
            self._process.kill()
            code = self._process.wait()
        self._socket.close()
        if code != 0:
            sweep(self._instance, self._process.pid)
            remove_runtime(self._instance)


def _told(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
