"""The bytes of a frame. A stream between two processes is a sequence of these.

    0      4     5      6       8                16
    +------+-----+------+-------+----------------+-------------------------------------------+
    | len  |type |flags | aux   |    call id     | [segments]? [meta_len u32, meta]? payload |
    | u32  | u8  | u8   | u16   |    u64         |                                           |
    +------+-----+------+-------+----------------+-------------------------------------------+

Little-endian; `len` counts the whole frame. A call id is chosen by the side that starts the call
and grows by one per call of that connection, so "begun up to here" is one number (`board.py`).

    type      from     aux                     payload
    HELLO     both     -                       messages.Hello, first frame of each direction
    NAME      caller   name id                 a method name; REQ.aux refers to it from then on
                                               (UNNUMBERED: the next REQ of that call id alone does)
    REQ       caller   name id | head+client   pickled (args, kwargs) | raw HTTP head with the
                                               client's `host:port` behind it; then the body
                                               | messages.CallHead and a gRPC message
    RES       callee   calls under way there   pickled result | rendered HTTP/1.1 response
                                               | a gRPC message, how it ended (CallTail)
    ERR       callee   calls under way there   pickled exception; ends a stream too
    REJECT    callee   calls under way there   - (full or draining: user code has not begun)
    CHUNK     both     -                       one item of a stream | rendered bytes | body bytes
    END       both     calls under way there   - (the stream, or the request body, is complete)
    CREDIT    both     credit to send further  - (callee to caller: of the request body)
    CANCEL    caller   -                       - (no answer follows; harmless when too late)
    READY     callee   others' calls there     - (call id 0: a slot is free again after a REJECT)
    ARENA     both     NOTE, MAPPED, REFUSED,  NOTE: messages.ArenaNote, memory to lend from;
                       GONE                    else an answer to it, or its end (call id: the arena)
                       TOKEN                   its name (call id: a descriptor of mine), to be held
                                               while anything that I lent here is read
    FREE      both     UNREAD, PASSED          - (call id: the lease whose last reader is gone;
                                               PASSED: a third process reads what you lent me)
    GOAWAY    callee   -                       - (draining: send nothing new here)
    RPC       both     -                       messages.Rpc, the control links' only frame

A segment table (flag SEG) is `count u32, inline u32`, then per buffer `arena, lease, offset,
length` (u64 each), then the inline part, then the buffers of arena 0, each from a multiple of 16
bytes. The others lie in shared memory: the receiver answers with FREE once nothing of theirs refers
to them. No lease is given on an arena before the receiver has said that it could map it.
"""

from __future__ import annotations

import struct
from typing import Final

HEADER: Final = struct.Struct("<IBBHQ")
HEADER_SIZE: Final = HEADER.size  # 16

# A frame is cut at this size so that no small call waits behind a big one; larger payloads go by
# arena, or as several frames of which all but the last carry MORE.
MAX_FRAME: Final = 256 * 1024
# From this size on, bytes travel by shared memory where both ends can map it.
LARGE: Final = 64 * 1024

HELLO: Final = 1
NAME: Final = 2
REQ: Final = 3
RES: Final = 4
ERR: Final = 5
REJECT: Final = 6
CHUNK: Final = 7
END: Final = 8
CREDIT: Final = 9
CANCEL: Final = 10
READY: Final = 11
ARENA: Final = 12
FREE: Final = 13
GOAWAY: Final = 14
RPC: Final = 15

# flags
META: Final = 1  # a msgpack `messages.Meta` precedes the payload
SEG: Final = 2  # a segment table precedes the payload: parts of it lie in shared memory
MORE: Final = 4  # the payload goes on in the next frame of this type and call id
STREAM: Final = 8  # REQ: answer with CHUNK* END.  RES: more follows as CHUNK* END
HTTP: Final = 16  # REQ: an HTTP request.  RES, CHUNK: bytes for the client's socket, as they are
BODY: Final = 32  # REQ: the body follows as CHUNK* END, as the callee gives credit
CLOSE: Final = 64  # REQ: say `connection: close`.  RES, END: close the client's connection after
GRPC: Final = 128  # REQ: a call of a gRPC method, whose path is its name.  RES: its answer

# NAME.aux and REQ.aux
UNNUMBERED: Final = 0xFFFF

# ARENA.aux
NOTE: Final = 0
MAPPED: Final = 1
REFUSED: Final = 2
GONE: Final = 3
TOKEN: Final = 4
# FREE.aux
UNREAD: Final = 0
PASSED: Final = 1

SEGMENTS: Final = struct.Struct("<II")
SEGMENT: Final = struct.Struct("<QQQQ")
ALIGN: Final = 16

# What a sender of a reply's chunks may spend before the first CREDIT, and what a chunk costs: small
# ones are bounded in number, large ones in bytes.
INITIAL_CREDIT: Final = 64


def chunk_cost(size: int) -> int:
    """The credit that a chunk of this size takes; one larger than all there is takes that."""
    return min(1 + (size >> 16), INITIAL_CREDIT)
