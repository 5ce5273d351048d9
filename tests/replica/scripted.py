"""A caller that a test plays by hand: frames in, frames out, no sockets."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import cloudpickle
import msgspec

from salver.calls.context import pack_meta
from salver.replica.caller import Caller
from salver.replica.host import Host
from salver.spec.app import DeploymentSpec, ImportedCode, PickledCode
from salver.spec.ids import DeploymentId
from salver.spec.options import DeploymentOptions
from salver.spec.start import StartSpec
from salver.wire import frames
from salver.wire.messages import Hello, Meta
from salver.wire.payload import Segments, dumps, load_error, loads


class Frame(msgspec.Struct):
    type: int
    flags: int
    aux: int
    call_id: int
    payload: bytes
    parts: tuple[Any, ...] = ()

    @property
    def bytes(self) -> bytes:
        return b"".join((self.payload, *(bytes(part) for part in self.parts)))


class Reply(msgspec.Struct):
    """A whole HTTP reply, as a client would see it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    closes: bool
    raw: bytes

    def __getitem__(self, name: str) -> str:
        return dict(self.headers)[name]


class ScriptedConnection:
    """Stands where a `wire.Connection` stands, on the replica's side."""

    def __init__(self, name: str) -> None:
        self.peer = Hello(b"", "caller", name, 1)
        self.name = name
        self.paused = False
        self.crowded = False
        self.closed = False
        self.begun = 0
        self.recalled = 0
        self.sent: list[Frame] = []
        self._news = asyncio.Event()

    def send(self, type: int, flags: int, aux: int, call_id: int, payload: bytes = b"") -> None:  # noqa: A002
        self.sent.append(Frame(type, flags, aux, call_id, payload))
        self._news.set()

    def send_parts(
        self,
        type: int,  # noqa: A002
        flags: int,
        aux: int,
        call_id: int,
        inline: bytes,
        buffers: Any,
    ) -> None:
        self.sent.append(Frame(type, flags, aux, call_id, inline, tuple(buffers)))
        self._news.set()

    def hurry(self) -> None:
        """What was sent is here already."""

    def board_begun(self, call_id: int) -> bool:
        self.begun = max(self.begun, call_id)
        return call_id > self.recalled

    def close(self, reason: str = "") -> None:
        self.closed = True

    async def until(self, condition: Callable[[list[Frame]], Any]) -> Any:
        """What the condition finds among the frames, as soon as it finds something."""
        while not (found := condition(self.sent)):
            self._news.clear()
            await self._news.wait()
        return found


class ScriptedCaller:
    """Makes calls on a host, one connection's worth."""

    def __init__(self, host: Host, name: str = "caller") -> None:
        self.conn = ScriptedConnection(name)
        self.side = Caller(host)
        self.side.opened(self.conn)  # type: ignore[arg-type]
        self._last = 0
        self._names = {"__call__": 0}

    def frame(
        self,
        type: int,  # noqa: A002
        flags: int = 0,
        aux: int = 0,
        call_id: int = 0,
        payload: Any = b"",
    ) -> None:
        self.side.frame(self.conn, type, flags, aux, call_id, payload)  # type: ignore[arg-type]

    def request(
        self, head: str | bytes, body: bytes = b"", *, flags: int = 0, meta: Meta | None = None
    ) -> int:
        """Send an HTTP request; its call id."""
        self._last += 1
        raw = head if isinstance(head, bytes) else head.replace("\n", "\r\n").encode() + b"\r\n\r\n"
        raw += b"192.0.2.7:4711"  # the client's address
        payload = raw + body
        if meta is not None:
            flags |= frames.META
            payload = pack_meta(meta) + payload
        self.frame(frames.REQ, frames.HTTP | flags, len(raw), self._last, payload)
        return self._last

    async def http(self, head: str, body: bytes = b"", **options: Any) -> Reply:
        """Send an HTTP request and wait for the whole reply; streams get credit as they need it."""
        return await self.reply(self.request(head, body, **options))

    async def get(self, path: str = "/", *headers: str) -> Reply:
        return await self.http("\n".join((f"GET {path} HTTP/1.1", "host: test", *headers)))

    async def reply(self, call_id: int, *, head_only: bool = False) -> Reply:
        given = 0

        def complete(sent: list[Frame]) -> list[Frame] | None:
            nonlocal given
            mine = [f for f in sent if f.call_id == call_id and f.type != frames.CREDIT]
            chunks = sum(f.type == frames.CHUNK for f in mine)
            if chunks - given >= 32:
                given += 32
                self.frame(frames.CREDIT, 0, 32, call_id)
            last = mine[-1] if mine else None
            if last is None or (last.type == frames.RES and last.flags & frames.STREAM):
                return None
            return mine if last.type in (frames.RES, frames.END, frames.ERR) else None

        mine: list[Frame] = await self.conn.until(complete)
        if mine[-1].type == frames.ERR:
            raise load_error(mine[-1].payload)
        raw = b"".join(f.bytes for f in mine)
        return parse_reply(raw, closes=bool(mine[-1].flags & frames.CLOSE), head_only=head_only)

    def start(
        self,
        method: str,
        *args: Any,
        stream: bool = False,
        meta: Meta | None = None,
        **kwargs: Any,
    ) -> int:
        """Start a handle's call; its call id."""
        self._last += 1
        number = self._names.get(method)
        if number is None:
            number = self._names[method] = len(self._names)
            self.frame(frames.NAME, 0, number, 0, method.encode())
        data, buffers = dumps((args, kwargs))
        flags = frames.STREAM if stream else 0
        if meta is not None:
            flags |= frames.META
            data = pack_meta(meta) + data
        payload = Segments(data, buffers) if buffers else data
        self.frame(frames.REQ, flags, number, self._last, payload)
        return self._last

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A whole handle call."""
        return await self.answer(self.start(method, *args, **kwargs))

    async def answer(self, call_id: int) -> Any:
        last: Frame = await self.conn.until(
            lambda sent: next((f for f in sent if f.call_id == call_id and f.type in _LAST), None)
        )
        if last.type == frames.ERR:
            raise load_error(last.payload)
        if last.type == frames.REJECT:
            raise Rejected
        return value_of(last)

    async def items(self, call_id: int) -> list[Any]:
        """Every item of a stream."""
        await self.conn.until(
            lambda sent: any(
                f.call_id == call_id and f.type in (frames.END, frames.ERR) for f in sent
            )
        )
        mine = [f for f in self.conn.sent if f.call_id == call_id]
        if mine[-1].type == frames.ERR:
            raise load_error(mine[-1].payload)
        return [value_of(f) for f in mine if f.type == frames.CHUNK]


class Rejected(Exception):
    """The host had no slot."""


_LAST = (frames.RES, frames.ERR, frames.REJECT)


def value_of(frame: Frame) -> Any:
    if frame.parts:
        return loads(Segments(frame.payload, [memoryview(part) for part in frame.parts]))
    return loads(frame.payload)


def parse_reply(raw: bytes, *, closes: bool, head_only: bool = False) -> Reply:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(n, v) for n, _, v in (line.partition(": ") for line in lines)]
    names = dict(headers)
    if names.get("transfer-encoding") == "chunked" and not head_only:
        body = dechunk(body)
    elif "content-length" in names and not head_only:
        assert int(names["content-length"]) == len(body)
    return Reply(int(first.split()[1]), headers, body, closes, raw)


def dechunk(data: bytes) -> bytes:
    out: list[bytes] = []
    while True:
        size, _, data = data.partition(b"\r\n")
        n = int(size, 16)
        if not n:
            assert data == b"\r\n"
            return b"".join(out)
        out.append(data[:n])
        assert data[n : n + 2] == b"\r\n"
        data = data[n + 2 :]


class NoStreams:
    """A dialler for hosts whose callers are scripted."""

    class Listener:
        address = "memory:none"

        def close(self) -> None: ...

    async def listen(self, *_args: Any) -> Listener:
        return self.Listener()


class NoCluster:
    address = "/nowhere"


def start_spec(
    code: Any, *args: Any, route: str | None = "/", arguments: bytes = b"", **options: Any
) -> StartSpec:
    """A spec of any class or function, by value unless it is importable code already."""
    if not isinstance(code, ImportedCode | PickledCode):
        code = PickledCode(cloudpickle.dumps(code))
    deployment = DeploymentSpec(
        id=DeploymentId("D", "app"),
        code=code,
        arguments=arguments or cloudpickle.dumps((args, {})),
        options=DeploymentOptions(**options),
        version="v1",
        ingress=True,
    )
    return StartSpec(deployment, "app#D#1", route)


class SameObject:
    """Code that a test defines, as it is: pickling would copy what the test wants to look at."""

    def __init__(self, value: Any) -> None:
        self.key = secrets.token_hex(8)
        KEPT[self.key] = value

    def __reduce__(self) -> tuple[Any, ...]:
        return _kept, (self.key,)


KEPT: dict[str, Any] = {}


def _kept(key: str) -> Any:
    return KEPT[key]


@contextlib.asynccontextmanager
async def serving(code: Any, *args: Any, **options: Any) -> AsyncIterator[ScriptedCaller]:
    """A started host and a caller of it."""
    host = new_host()
    spec = start_spec(PickledCode(_same(code)), *args, **options)
    try:
        await host.start(spec)
        caller = ScriptedCaller(host)
        yield caller
    finally:
        await host.stop()


def new_host() -> Host:
    return Host(
        "app#D#1",
        address="memory:none",
        dialler=NoStreams(),  # type: ignore[arg-type]
        secret=b"",
        cluster=NoCluster(),  # type: ignore[arg-type]
    )


def _same(code: Any) -> bytes:
    return pickle.dumps(SameObject(code))
