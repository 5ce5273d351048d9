"""Clients that leave in the midst of their upload, while nothing is read from them.

The loop looks only at what it reads from, so that a handler which does not read its body, or waits
before it does, would work on for nobody.
"""

from __future__ import annotations

import asyncio
import select
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from salver.doors.connection import Connection

__all__ = ("Hangups",)


class Hangups:
    """One epoll for a door's paused connections, itself watched by the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._poll: select.epoll | None = None
        self._watched: dict[int, Connection] = {}
        self._numbers: dict[Connection, int] = {}

    def watch(self, connection: Connection) -> None:
        """Tell this connection when its client has left."""
        sock = connection.transport.get_extra_info("socket")
        if sock is None:
            return
        if self._poll is None:
            self._poll = select.epoll()
            self._loop.add_reader(self._poll.fileno(), self._look)
        number = sock.fileno()
        with suppress(OSError, ValueError):  # it is closed already, as it will be told
            self._poll.register(number, select.EPOLLRDHUP)
            self._watched[number] = connection
            self._numbers[connection] = number

    def forget(self, connection: Connection) -> None:
        """It is read from again, or gone."""
        number = self._numbers.pop(connection, None)
        if number is None or self._watched.get(number) is not connection:
            return  # another one may have that number by now
        del self._watched[number]
        if self._poll is not None:
            with suppress(OSError):  # who is closed is out of it already
                self._poll.unregister(number)

    def close(self) -> None:
        """Watch nobody any more."""
        self._watched.clear()
        self._numbers.clear()
        if self._poll is not None:
            self._loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None

    def _look(self) -> None:
        for number, _ in self._poll.poll(0) if self._poll is not None else ():
            connection = self._watched.get(number)
            if connection is not None:
                self.forget(connection)
                connection.hung_up()
