"""Children's lines, each with its process's name in front, on the way to the keeper's stderr.

The keeper must never wait for a slow terminal. So it writes only when the descriptor can take a
piece, at most PIPE_BUF at a time; when too much waits, it stops reading from the children, who then
wait themselves. Nothing is dropped. A line that is marked as a record is shown as it is, without
the mark: it says itself whose it is.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Final

from salver.engine.selecting import Loop
from salver.telemetry.logging import RECORD

__all__ = ("Output", "Source")

HIGH: Final = 256 * 1024  # bytes that may wait before the children have to
LOW: Final = 64 * 1024
LINE: Final = 8 * 1024  # a longer line is shown in pieces
RECORD_LINE: Final = 1024 * 1024  # and a longer record
PIECE: Final = select.PIPE_BUF
TAIL: Final = 2048  # bytes of a process's output that are remembered
WORDS: Final = 300  # characters of its last words
_MARK: Final = RECORD.encode()
_FRAME: Final = '  File "'  # begins the lines of a traceback that name a place


class Source:
    """One child's pipe."""

    def __init__(self, fd: int, name: str) -> None:
        self.fd = fd
        self.prefix = f"[{name}] ".encode()
        self.partial = b""
        self.ending = False
        self._tail = b""

    def lines(self, data: bytes) -> bytes:
        """The complete lines of what is known so far, with the name in front of each."""
        self._tail = (self._tail + data[-TAIL:])[-TAIL:]
        *whole, self.partial = (self.partial + data).split(b"\n")
        while len(self.partial) >= (limit := _limit(self.partial)):
            whole.append(self.partial[:limit])
            self.partial = self.partial[limit:]
        return b"".join(self._show(line) for line in whole)

    def rest(self) -> bytes:
        """The last line of a process that ended in the middle of it."""
        line, self.partial = self.partial, b""
        return self._show(line) if line else b""

    def last_words(self) -> str:
        """The error that its output ends with: what a traceback tells, or else the last line."""
        text = self._tail.decode(errors="replace").replace(RECORD, "")
        lines = [line for line in text.splitlines() if line.strip()]
        frames = [number for number, line in enumerate(lines) if line.startswith(_FRAME)]
        told = lines[frames[-1] :] if frames else lines[-1:]
        flush = (line for line in told if not line.startswith(" "))
        return next(flush, "")[:WORDS]

    def _show(self, line: bytes) -> bytes:
        if line.startswith(_MARK) and len(line) <= RECORD_LINE:
            return line[len(_MARK) :] + b"\n"
        if len(line) <= LINE:
            return self.prefix + line + b"\n"
        pieces = (line[i : i + LINE] for i in range(0, len(line), LINE))
        return b"".join(self.prefix + piece + b"\n" for piece in pieces)


class Output:
    """Collects from pipes, writes to one descriptor."""

    def __init__(self, loop: Loop, target: int) -> None:
        self._loop = loop
        self._target = target
        self._waiting = bytearray()
        self._sources: dict[int, Source] = {}
        self._paused = False
        self._armed = False
        self._broken = False
        self._pollable = _pollable(target)
        self._poll = select.poll()
        self._poll.register(target, select.POLLOUT)

    def add(self, fd: int, name: str) -> Source:
        """Read from this pipe from now on; `fd` belongs to the output."""
        os.set_blocking(fd, False)
        source = self._sources[fd] = Source(fd, name)
        if not self._paused:
            self._loop.on_readable(fd, self._reader(source))
        return source

    def say(self, name: str, text: str) -> None:
        """A line of the keeper's own."""
        self._put(Source(-1, name).lines(text.encode() + b"\n"))

    def end(self, source: Source) -> None:
        """Its process is dead: show what is still in the pipe, then close it."""
        if self._sources.get(source.fd) is not source:
            return  # read to its end already, and the number may be another's by now
        source.ending = True
        if not self._paused:
            self._read(source)

    def flush(self, seconds: float) -> None:
        """Write all that is known, waiting at most so long for the reader; at the keeper's end."""
        self._paused = True
        for source in list(self._sources.values()):
            source.ending = True
            while self._step(source):
                pass
        while self._waiting and not self._broken:
            if not self._poll.poll(seconds * 1000):
                return
            self._write()

    def _reader(self, source: Source) -> Callable[[], None]:
        return lambda: self._read(source)

    def _read(self, source: Source) -> None:
        """Once for the living, as others want their turn; to the end for the dead."""
        while self._step(source) and source.ending and not self._paused:
            pass

    def _step(self, source: Source) -> bool:
        """Read a piece; False: there is nothing more, now or ever."""
        try:
            data = os.read(source.fd, 65536)
        except BlockingIOError:
            if source.ending:  # a grandchild may hold the pipe open for ever
                self._close(source)
            return False
        if not data:
            self._close(source)
            return False
        self._put(source.lines(data))
        return True

    def _close(self, source: Source) -> None:
        self._put(source.rest())
        self._loop.forget(source.fd)
        os.close(source.fd)
        del self._sources[source.fd]

    def _put(self, data: bytes) -> None:
        if self._broken or not data:
            return
        self._waiting += data
        self._write()
        if len(self._waiting) > HIGH and not self._paused:
            self._pause()

    def _write(self) -> None:
        while self._waiting and self._ready():
            try:
                written = os.write(self._target, self._waiting[:PIECE])
            except BlockingIOError:
                break
            except OSError:  # nobody reads any more: children must not be held up by that
                self._broken = True
                self._waiting.clear()
                break
            del self._waiting[:written]
        self._arm(bool(self._waiting))

    def _ready(self) -> bool:
        return not self._pollable or bool(self._poll.poll(0))

    def _arm(self, wanted: bool) -> None:
        if wanted != self._armed and self._pollable:
            self._armed = wanted
            self._loop.on_writable(self._target, self._drain if wanted else None)

    def _drain(self) -> None:
        self._write()
        if self._paused and len(self._waiting) < LOW:
            self._resume()

    def _pause(self) -> None:
        self._paused = True
        for fd in self._sources:
            self._loop.on_readable(fd, None)

    def _resume(self) -> None:
        self._paused = False
        for source in list(self._sources.values()):
            if not self._paused:
                self._loop.on_readable(source.fd, self._reader(source))
                if source.ending:
                    self._read(source)
            # else: reading the dead has filled the buffer again


def _limit(line: bytes) -> int:
    return RECORD_LINE if line.startswith(_MARK) else LINE


def _pollable(fd: int) -> bool:
    """Files and /dev/null are always ready, and epoll refuses them."""
    poll = select.epoll()
    try:
        poll.register(fd, select.EPOLLOUT)
    except OSError:
        return False
    finally:
        poll.close()
    return True
