"""A zip, unpacked once for its content."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from salver.environment.cache import locked_folder
from salver.errors import EnvironmentFailedError

__all__ = ("only_folder", "unpacked")

_OF_MACS: Final = "__MACOSX"  # what their zips hold besides
# RuntimeError: it has a password. NotImplementedError: packed in a way that nobody reads here.
_WRONG: Final = (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError)


def unpacked(archive: Path, cache: Path, said: str) -> Path:
    """The folder with what is in it. `said` is how errors name it."""
    with archive.open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    with locked_folder(cache / name) as (folder, fresh):
        if fresh:
            try:
                _unpack(archive, folder)
            except _WRONG as error:
                raise EnvironmentFailedError(f"{said} cannot be unpacked: {error}.") from None
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as zipped:
        members = {PurePosixPath(m.filename.replace("\\", "/")): m for m in zipped.infolist()}
        for path in members:
            if path.is_absolute() or ".." in path.parts:
                raise zipfile.BadZipFile(f"'{path}' in it would lie outside of the folder")
        wanted = [m for path, m in members.items() if path.parts[:1] != (_OF_MACS,)]
        zipped.extractall(folder, wanted)


def only_folder(folder: Path) -> Path:
    """The one folder that everything in it lies in, as zips have it; else itself."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
