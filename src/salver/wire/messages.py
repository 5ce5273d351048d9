"""What frames carry besides users' data: small msgpack structs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

PROTOCOL: Final = 1


class Hello(msgspec.Struct, array_like=True, frozen=True):
    """First frame of each direction. The dialler proves the secret; the other side names itself."""

    secret: bytes
    role: str  # "caller", "replica", "ingress", "client", "controller"
    name: str  # process or replica id, unique within the instance
    pid: int
    board_fd: int = -1  # the caller's board (memfd), -1: none
    protocol: int = PROTOCOL
    board: int = 0  # the board's number: part of the memfd's name, so that a wrong pid is noticed
    cell: int = 0  # which cell of the board is this connection's


class Meta(msgspec.Struct, array_like=True, frozen=True):
    """What a call carries beside its arguments. Absent fields keep the frame small."""

    request_id: str = ""
    app: str = ""
    route: str = ""
    model_id: str = ""
    session_id: str = ""


class ArenaNote(msgspec.Struct, array_like=True, frozen=True):
    """Shared memory that the sender lends slabs from; the peer opens /proc/<pid>/fd/<fd>."""

    arena: int
    pid: int
    fd: int
    size: int


class CallHead(msgspec.Struct, array_like=True, frozen=True):
    """What a gRPC request carries beside its messages: precedes the first of them."""

    metadata: tuple[tuple[str, Any], ...] = ()  # values: str, or bytes of keys with -bin
    peer: str = ""  # the client, as gRPC writes it


class CallTail(msgspec.Struct, array_like=True, frozen=True):
    """How a gRPC call ended, where that is not plain OK; precedes the message, if there is one."""

    code: int = 0
    details: str = ""
    metadata: tuple[tuple[str, Any], ...] = ()  # trailing
    compression: int | None = None


class Rpc(msgspec.Struct, array_like=True, frozen=True):
    """A call, an answer or a notice on a control link."""

    kind: int  # 0 call, 1 answer, 2 error, 3 notice
    id: int
    method: str
    body: Any = None
