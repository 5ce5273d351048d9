"""A small replica in a process of its own: `python replica.py <socket> <secret hex> [limit]`.

Says `ready` on stdout when it listens, and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import uvloop

from salver.calls.context import unpack_meta
from salver.calls.splice import decode_call
from salver.wire import frames
from salver.wire.connection import Connection
from salver.wire.messages import Hello
from salver.wire.payload import Segments, dump_error, dumps
from salver.wire.streams import Dialler


class Caller:
    """One caller's connection."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.names = {0: "__call__"}
        self.credit: dict[int, int] = {}
        self.sources: dict[int, Any] = {}

    def opened(self, conn: Connection) -> None:
        pass

    def writable(self, conn: Connection) -> None:
        pass

    def closed(self, conn: Connection, error: Exception | None) -> None:
        self.replica.held -= {held for held in self.replica.held if held[0] is conn}

    def frame(
        self,
        conn: Connection,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        payload: bytes | Segments,
    ) -> None:
        if type == frames.NAME:
            assert isinstance(payload, bytes)
            self.names[aux] = payload.decode()
        elif type == frames.REQ:
            self.request(conn, flags, self.names[aux], call_id, payload)
        elif type == frames.CREDIT:
            self.credit[call_id] += aux
            self.pump(conn, call_id)
        elif type == frames.CANCEL:
            self.replica.cancelled += 1
            self.replica.held.discard((conn, call_id))
            self.sources.pop(call_id, None)

    def request(
        self, conn: Connection, flags: int, name: str, call_id: int, payload: bytes | Segments
    ) -> None:
        replica = self.replica
        if len(replica.held) >= replica.limit:
            replica.rejected.append(conn)
            conn.send(frames.REJECT, 0, len(replica.held), call_id)
            return
        conn.board_begun(call_id)
        if flags & frames.META:
            if isinstance(payload, bytes):
                payload = payload[unpack_meta(payload)[1] :]
            else:
                start = unpack_meta(payload.inline)[1]
                payload = Segments(payload.inline[start:], payload.buffers)
        args, kwargs = decode_call(payload)
        if name == "hold":
            replica.held.add((conn, call_id))
            return
        if name == "count":
            self.sources[call_id] = iter(range(args[0]))
            self.credit[call_id] = frames.INITIAL_CREDIT
            self.pump(conn, call_id)
            return
        try:
            result = getattr(replica, name)(*args, **kwargs)
        except Exception as error:  # noqa: BLE001
            conn.send(frames.ERR, 0, 0, call_id, dump_error(error))
            return
        data, buffers = dumps(result)
        if buffers or len(data) > frames.LARGE:
            conn.send_parts(frames.RES, 0, 0, call_id, data, buffers)
        else:
            conn.send(frames.RES, 0, 0, call_id, data)

    def pump(self, conn: Connection, call_id: int) -> None:
        source = self.sources.get(call_id)
        while source is not None and self.credit[call_id]:
            item = next(source, None)
            if item is None:
                del self.sources[call_id]
                conn.send(frames.END, 0, 0, call_id)
                return
            self.credit[call_id] -= 1
            conn.send(frames.CHUNK, 0, 0, call_id, dumps(item)[0])


class Replica:
    """Its methods, and what it counts."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held: set[tuple[Connection, int]] = set()
        self.rejected: list[Connection] = []
        self.cancelled = 0

    def __call__(self, value: Any = None) -> Any:
        return value

    def add(self, *values: Any) -> Any:
        total = values[0]
        for value in values[1:]:
            total = total + value
        return total

    def pid(self) -> int:
        return os.getpid()

    def fail(self, message: str) -> None:
        raise ValueError(message)

    def cancels(self) -> int:
        return self.cancelled

    def holding(self) -> int:
        return len(self.held)


async def main(path: str, secret: bytes, limit: int) -> None:
    replica = Replica(limit)
    hello = Hello(b"", "replica", path, os.getpid())
    listener = await Dialler().listen(f"unix:{path}", lambda: Caller(replica), hello, secret)
    print("ready", flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    await ended.wait()
    listener.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])))
