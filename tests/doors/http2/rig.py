"""A server that echoes gRPC messages, in the test's own loop; h2 and bare bytes to ask it."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

import h2.config
import h2.connection
import h2.events
import hpack

from salver.doors.grpc.head import Handler, RpcHead, read_head
from salver.doors.grpc.messages import PREFIX
from salver.doors.grpc.rpc import Rpc
from salver.doors.http2.frames import (
    END_HEADERS,
    FRAME,
    GOAWAY,
    HEADERS,
    PREFACE,
    FrameReader,
    frame,
    settings,
)
from salver.doors.http2.headers import Fields
from salver.doors.http2.server import Http2Server

LIMIT_S = 60
LONGEST = 16 << 20
REQUEST = [
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/e/Echo"), (b":authority", b"x"),
    (b"te", b"trailers"), (b"content-type", b"application/grpc"),
]  # fmt: skip
HELLO = PREFACE + settings(())


def of(path: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of a request for another method."""
    return [(name, path if name == b":path" else value) for name, value in REQUEST]


def prefixed(message: bytes) -> bytes:
    return PREFIX.pack(0, len(message)) + message


def headers(number: int, flags: int = 0, fields: Any = REQUEST) -> bytes:
    """A HEADERS frame with a block that needs no table."""
    block = hpack.Encoder().encode([(hpack.NeverIndexedHeaderTuple(*field)) for field in fields])
    return frame(HEADERS, END_HEADERS | flags, number, block)


class Echo:
    """`/e/Echo` answers a message by itself; `/e/Hold` takes a stream and reads nothing of it."""

    def __init__(self) -> None:
        self.held: list[Rpc] = []
        self.cancelled = asyncio.Event()
        self.server = Http2Server(
            asyncio.get_running_loop(), self._parser, partial(Rpc, longest=LONGEST), most=100
        )
        self.port = 0

    async def start(self) -> None:
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        self.port = bound.getsockname()[1]
        await self.server.listen(bound)

    def _parser(self, peer: Any) -> Any:
        def parse(fields: Fields) -> RpcHead:
            head = read_head(fields, str(peer))
            if head.path == "/e/Hold":
                head.handler = Handler(self._hold, takes_stream=True)
            else:
                head.handler = Handler(self.begin)
            return head

        return parse

    def begin(self, rpc: Rpc, message: bytes) -> None:
        rpc.answer(message, "r")

    def _hold(self, rpc: Rpc, _message: bytes) -> None:
        self.held.append(rpc)
        rpc.work = self

    def cancel(self) -> None:
        """The client of a held call has gone."""
        self.cancelled.set()


class Client:
    """h2 as the client: it keeps the rules and checks that the server does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.bodies: dict[int, bytearray] = {}
        self.fields: dict[int, dict[str, str]] = {}
        self.over: set[int] = set()
        self.events: list[Any] = []
        self.flush()

    @classmethod
    async def connect(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def ask(self, number: int, path: str = "/e/Echo", *, end: bool = False) -> None:
        fields = [(name.decode(), value.decode()) for name, value in of(path.encode())]
        self.h2.send_headers(number, fields, end_stream=end)
        self.flush()

    async def send(self, number: int, data: bytes, *, end: bool = True) -> None:
        """All of it, as the server's windows allow."""
        at = 0
        while at < len(data):
            room = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size)
            if room <= 0:
                await self.hear()
                continue
            piece = data[at : at + room]
            at += len(piece)
            self.h2.send_data(number, piece, end_stream=end and at == len(data))
            self.flush()
            await self.writer.drain()

    async def hear(self, *, takes: bool = True) -> None:
        """Some of what the server says; `takes`: the windows are widened again."""
        data = await asyncio.wait_for(self.reader.read(65536), LIMIT_S)
        assert data, "the server has closed"
        for event in self.h2.receive_data(data):
            self.events.append(event)
            number = getattr(event, "stream_id", 0)
            if isinstance(event, h2.events.DataReceived):
                self.bodies.setdefault(number, bytearray()).extend(event.data)
                if takes:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, number)
            elif isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                told: Any = event.headers
                self.fields.setdefault(number, {}).update(told)
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                self.over.add(number)
        self.flush()

    async def answer(self, number: int) -> bytes:
        """The message that answers, once the stream has ended."""
        while number not in self.over:
            await self.hear()
        return bytes(self.bodies.get(number, b"")[PREFIX.size :])

    def close(self) -> None:
        self.writer.close()


async def said(reader: asyncio.StreamReader) -> list[tuple[int, int, int, bytes]]:
    """All frames until the server closes."""
    frames = FrameReader()
    found = []
    while data := await asyncio.wait_for(reader.read(65536), LIMIT_S):
        found += [
            (kind, flags, number, payload) for kind, flags, number, payload, _ in frames.read(data)
        ]
    return found


class Raw:
    """A client that sends what it is told, and reads frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int) -> Raw:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def frame(self, wanted: int) -> tuple[int, int, bytes]:
        """Flags, stream and payload of the next frame of this type; those before are dropped."""
        while True:
            head = await asyncio.wait_for(self.reader.readexactly(FRAME.size), LIMIT_S)
            first, flags, number = FRAME.unpack(head)
            payload = await asyncio.wait_for(self.reader.readexactly(first >> 8), LIMIT_S)
            if first & 0xFF == wanted:
                return flags, number, payload


async def parting_word(port: int, data: bytes) -> int:
    """The code of the GOAWAY frame that answers this, after which the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        frames = await said(reader)
        (last,) = [payload for kind, _, _, payload in frames if kind == GOAWAY]
        return int.from_bytes(last[4:8], "big")
    except ConnectionResetError:
        return -1
    finally:
        writer.close()
