"""What the connections of one process have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from salver.wire.arena import Arena
from salver.wire.board import Board, CallerCell
from salver.wire.frames import MAX_FRAME
from salver.wire.mapping import Mappings
from salver.wire.token import Token

__all__ = ("Limits", "Shared")


class Limits:
    """Bounds of a connection; what exceeds them closes it."""

    def __init__(
        self,
        *,
        hello_s: float = 10.0,
        close_s: float = 5.0,
        max_payload: int = 2 << 30,
        max_unsent: int = 2 << 30,
    ) -> None:
        self.hello_s = hello_s  # until the peer has proved the secret
        self.close_s = close_s  # for a peer to take what was written before `close`
        self.max_payload = max_payload  # of one call, in pieces
        self.max_unsent = max_unsent  # written to a peer that does not read


class Shared:
    """One per process and loop: scratch to receive into, the arena, the arenas of others, boards.

    The scratch is shared because what is read is consumed before anything else is read; an idle
    connection thus costs no buffer.
    """

    def __init__(self, *, limits: Limits | None = None, arena: Arena | None = None) -> None:
        self.limits: Final = limits or Limits()
        self.arena: Final = arena or Arena()
        self.scratch: Final = memoryview(bytearray(MAX_FRAME))
        self.mappings: Final = Mappings()
        self._closed = False
        self._board: Board | None = None
        self._held: set[Token] = set()  # of connections that have ended, by their peers

    def cell(self) -> CallerCell:
        """A cell for a new connection to a callee."""
        if self._board is None or self._board.full:
            self._board = Board()
        return self._board.take()

    def keep_while_read(
        self,
        loop: asyncio.AbstractEventLoop,
        token: Token,
        releases: Iterable[Callable[[], object]],
        *,
        linger_s: float = 0.0,
    ) -> None:
        """Let go of what a peer holds once it cannot read it any more.

        A connection may end while its peer lives on and still looks at what it got: the memory must
        not be used for something else under its eyes.
        """
        todo = list(releases)
        if not todo or self._closed:
            token.close()
            return

        def release_all() -> None:
            for release in todo:
                release()

        def let_go() -> None:
            self._held.discard(token)
            loop.call_later(linger_s, release_all)

        self._held.add(token)
        token.watch(loop, let_go)

    def close(self) -> None:
        """Drop the arena and stop watching peers."""
        self._closed = True
        while self._held:
            self._held.pop().close()
        self._board = None
        self.arena.close()
