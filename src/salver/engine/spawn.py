"""The process of a keeper that has not been told yet what to keep."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ("PROGRAM", "Spawned")

# -P: the directory where the owner was started must not shadow modules in the keeper.
# Collecting would only go through what is imported, again and again: see `Keeper`.
PROGRAM: Final = (
    "import gc, sys; gc.disable(); "
    "root, fd, *early = sys.argv[1:]; root in sys.path or sys.path.insert(0, root); "
    "from salver.engine.keeper import main; sys.exit(main(int(fd), early))"
)


class Spawned:
    """It imports its own code while its owner gets ready. Cheap to import: nothing of ours.

    `early`: modules that it will need, imported as long as it has not been told anything.
    """

    def __init__(self, early: Iterable[str] = ()) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = str(Path(__file__).parents[2])
        fd = theirs.fileno()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-c", PROGRAM, root, str(fd), *early],
                stdin=subprocess.DEVNULL,
                pass_fds=(fd,),
                start_new_session=True,
            )
        self._taken = False

    def take(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Its process and our end of its socket: from now on the caller sees to its end."""
        self._taken = True
        return self.process, self.socket

    def close(self) -> None:
        """End it, unless somebody has taken it."""
        if not self._taken:
            self.socket.close()
            self.process.kill()
            self.process.wait()
