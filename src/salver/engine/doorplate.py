"""Where an instance's HTTP door is, written in its runtime directory for clients on this machine.

The directory is its user's alone, the secret in it too: who can read it may call the instance by
the wire, as handles do. Nothing of this goes by the network.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from salver.engine.directories import PREFIX, runtimes
from salver.spec.learnt import learnt

__all__ = ("DoorPlate", "find_instance", "put_up")

_FILE: Final = "door.json"
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not listened on


@learnt
class DoorPlate(msgspec.Struct, frozen=True):
    """One door. `network`: its network namespace, as ports of another are other ports."""

    host: str
    port: int
    root_path: str = ""
    network: str = ""
    session_id_header: str = "x-session-id"


def put_up(
    directory: str, host: str, port: int, root_path: str, session_id_header: str = "x-session-id"
) -> None:
    """Tell the user's own clients that the instance of this directory answers there."""
    plate = DoorPlate(host, port, root_path, _network(), session_id_header)
    Path(directory, _FILE).write_bytes(msgspec.json.encode(plate))


def find_instance(host: str, port: int, folder: str | None = None) -> tuple[str, DoorPlate] | None:
    """The directory of the running instance of this user that answers at this address."""
    network = _network()
    for directory in Path(folder or runtimes()).glob(f"{PREFIX}*"):
        for plate in _read(directory):
            mine = plate.host == host or _ANY.get(plate.host) == host
            if mine and plate.port == port and plate.network == network and _lives(directory):
                return str(directory), plate
    return None


def _read(directory: Path) -> Iterator[DoorPlate]:
    try:
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return
        yield msgspec.json.decode((directory / _FILE).read_bytes(), type=DoorPlate)
    except (OSError, msgspec.DecodeError):
        return


def _lives(directory: Path) -> bool:
    """Whether the keeper still listens: what a crash left behind answers nobody."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(str(directory / "control.sock"))
        except OSError:
            return False
        return True


def _network() -> str:
    try:
        return str(Path("/proc/self/ns/net").readlink())
    except OSError:
        return ""
