"""HTTP/1.1 as a client speaks it: requests in parts that are not joined, answers read in place."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final

import msgspec
import numpy as np

from salver.client.deadline import Deadline
from salver.client.errors import LinkError
from salver.client.rim import Pipe
from salver.oip.binary import HEADER

__all__ = ("Incoming", "Reply", "Request", "send", "split_head")

Buffer = bytes | bytearray | memoryview

_SMALL: Final = 64 * 1024  # bodies below leave in one piece with the head
_MAX_HEAD: Final = 64 * 1024
_ALIGN: Final = 64
_LENGTH: Final = HEADER.lower()


class Request(msgspec.Struct, frozen=True, eq=False):
    """What is sent. `head` is whole; `parts` are the body."""

    head: bytes
    parts: tuple[Buffer, ...] = ()
    safe: bool = False  # to be done twice

    @classmethod
    def of(
        cls,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        parts: tuple[Buffer, ...] = (),
    ) -> Request:
        """A request with this head."""
        size = sum(len(part) for part in parts)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        if method != "GET":
            lines.append(f"content-length: {size}")
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        return cls(head, parts, safe=method == "GET")


class Reply(msgspec.Struct, frozen=True, eq=False):
    """What came back: the body in the pieces in which it lies."""

    status: int
    headers: dict[str, str]
    pieces: tuple[memoryview, ...]

    @property
    def body(self) -> bytes | memoryview:
        """The whole body."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


async def send(pipe: Pipe, request: Request, deadline: Deadline) -> None:
    """Write a request."""
    size = sum(len(part) for part in request.parts)
    if size <= _SMALL:
        await pipe.send(b"".join((request.head, *request.parts)), deadline)
        return
    first, *rest = request.parts
    await pipe.send(request.head + bytes(first) if len(first) <= _SMALL else request.head, deadline)
    for part in rest if len(first) <= _SMALL else request.parts:
        await pipe.send(part, deadline)


def split_head(raw: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer's head; LinkError: it is none."""
    line, *fields = raw.decode("latin-1").split("\r\n")
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise LinkError(f"What came back is no HTTP: {line[:80]!r}.")
    headers: dict[str, str] = {}
    for field in fields:
        name, colon, value = field.partition(":")
        if colon:
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return int(rest[:3]), headers


class Incoming:
    """The answer that comes by a pipe: first its head, then its body, whole or as it comes."""

    def __init__(self, pipe: Pipe, deadline: Deadline) -> None:
        self._pipe = pipe
        self._deadline = deadline
        self._rest = bytearray()  # received, and not taken yet
        self.status = 0
        self.headers: dict[str, str] = {}
        self.reusable = False  # the whole answer was read, and the pipe may be used again

    async def head(self) -> None:
        """Read it; what is only said on the way (1xx) is passed over."""
        while self.status < 200:
            raw = await self._until(b"\r\n\r\n")
            self.status, self.headers = split_head(raw)

    async def whole(self) -> Reply:
        """The body, in one piece."""
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            found = b"".join([piece async for piece in self.pieces()])
            return Reply(self.status, self.headers, (memoryview(found),))
        length = self._length()
        body = await self._exactly(length) if length is not None else await self._all()
        self.reusable = length is not None and self._stays()
        return Reply(self.status, self.headers, (body,))

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes; each piece may take as long as the call."""
        if "chunked" not in self.headers.get("transfer-encoding", "").lower():
            yield bytes((await self.whole()).body)
            return
        while True:
            self._deadline.again()
            size = self._chunk_size(await self._until(b"\r\n"))
            piece = bytes(await self._exactly(size))
            await self._until(b"\r\n")
            if not size:
                self.reusable = self._stays()
                return
            yield piece

    def _chunk_size(self, line: bytes) -> int:
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError:
            raise LinkError(f"What came back is no chunk: {line[:40]!r}.") from None

    def _length(self) -> int | None:
        if self.status in (204, 304):
            return 0
        text = self.headers.get("content-length")
        if text is None:
            return None
        if not text.isdigit():
            raise LinkError(f"What came back has no length: {text[:40]!r}.")
        return int(text)

    def _stays(self) -> bool:
        return not self._rest and "close" not in self.headers.get("connection", "").lower()

    async def _until(self, mark: bytes) -> bytes:
        seen = 0
        while (end := self._rest.find(mark, seen)) < 0:
            if len(self._rest) > _MAX_HEAD:
                raise LinkError(f"More than {_MAX_HEAD} bytes came back, and no end of a line.")
            seen = max(0, len(self._rest) - len(mark))
            await self._more()
        found = bytes(self._rest[:end])
        del self._rest[: end + len(mark)]
        return found

    async def _exactly(self, size: int) -> memoryview:
        """So many bytes, laid so that the tensors in them can be used where they are."""
        header = self.headers.get(_LENGTH, "")
        start = -int(header) % _ALIGN if header.isdigit() and len(header) < 12 else 0
        body = memoryview(np.empty(start + size, np.uint8))[start:]  # type: ignore[arg-type]
        taken = min(size, len(self._rest))
        body[:taken] = self._rest[:taken]
        del self._rest[:taken]
        while taken < size:
            count = await self._pipe.receive(body[taken:], self._deadline)
            if not count:
                raise self._cut()
            taken += count
        return body.toreadonly()

    async def _all(self) -> memoryview:
        try:
            while True:
                await self._more()
        except LinkError:
            return memoryview(bytes(self._rest))

    async def _more(self) -> None:
        scratch = bytearray(16 * 1024)
        count = await self._pipe.receive(memoryview(scratch), self._deadline)
        if not count:
            raise self._cut()
        self._rest += scratch[:count]

    def _cut(self) -> LinkError:
        return LinkError("The server closed the connection before its answer was complete.")
