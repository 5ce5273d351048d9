"""A peer in a process of its own: `python replica_process.py unix:/path`. It does as frames say.

REQ aux HOLD: keeps the buffers, answers with how they came and their sum.
REQ aux SUM: answers with the sum of what CANCEL has not dropped of that call.
REQ aux GIVE: answers with a large array.   REQ aux LENT: answers with the bytes it has lent out.
REQ aux MAPS: answers with how many arenas it has mapped.
REQ aux BEGIN: notes the call as begun and answers nothing.   CANCEL: drops what a call holds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import Any

import uvloop

from salver.wire import frames
from salver.wire.connection import Connection
from salver.wire.messages import Hello
from salver.wire.payload import Segments, dumps
from salver.wire.streams import Dialler

HOLD, SUM, GIVE, LENT, BEGIN, MAPS, LOOK = range(1, 8)
SIZE = 300_000


class Obeying:
    def __init__(self, dialler: Dialler, ended: asyncio.Event, held: dict[int, Any]) -> None:
        self.dialler = dialler
        self.ended = ended
        self.held = held

    def opened(self, conn: Connection) -> None:
        pass

    def frame(
        self,
        conn: Connection,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        if type == frames.CANCEL:
            dropping = self.held.pop(call_id)
            thread = threading.Thread(target=dropping.clear)
            thread.start()
            thread.join()
            return
        answer: Any = None
        if aux == HOLD:
            assert isinstance(payload, Segments)
            parts = [b[10:] for b in payload.buffers]
            how = [b.obj.__class__.__name__.rstrip("0123456789") for b in parts]
            answer = how, sum(sum(b) for b in parts)
            self.held[call_id] = parts
        elif aux == LOOK:
            assert isinstance(payload, Segments)
            answer = len(payload.buffers[0])
        elif aux == SUM:
            answer = sum(sum(b) for b in self.held[call_id])
        elif aux == GIVE:
            answer = bytearray(bytes([call_id % 256])) * SIZE
        elif aux == MAPS:
            answer = len(self.dialler.shared.mappings)
        elif aux == LENT:
            answer = self.dialler.arena.lent
        elif aux == BEGIN:
            conn.board_begun(call_id)
            return
        inline, buffers = dumps(answer)
        conn.send_parts(frames.RES, 0, 0, call_id, inline, buffers)

    def closed(self, conn: Connection, error: Exception | None) -> None:
        self.ended.set()

    def writable(self, conn: Connection) -> None:
        pass


async def main(address: str, forever: str) -> None:
    dialler, ended = Dialler(), asyncio.Event()
    held: dict[int, Any] = {}  # whatever connection it came by
    hello = Hello(b"", "replica", "r", os.getpid())
    await dialler.listen(address, lambda: Obeying(dialler, ended, held), hello, b"s" * 32)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await (asyncio.Event() if forever else ended).wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2]))
