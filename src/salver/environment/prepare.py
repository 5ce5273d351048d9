"""From a `runtime_env` to where a process starts and what it can import."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from salver.environment.cache import locked_folder
from salver.environment.pip import installed
from salver.errors import EnvironmentFailedError
from salver.spec.environment import RuntimeEnv

__all__ = ("Prepared", "prepare")


@dataclass(frozen=True)
class Prepared:
    """What goes in front of `sys.path`, and the working directory ("": as it is)."""

    sys_path: tuple[str, ...] = ()
    cwd: str = ""


def prepare(env: RuntimeEnv, cache: Path) -> Prepared:
    """Check the folders, unpack the zip, install the packages. EnvironmentFailedError says what
    is not there or could not be done."""
    entries: list[str] = []
    cwd = ""
    if env.working_dir:
        cwd = str(_folder(env.working_dir, cache))
        entries.append(cwd)
    entries += [_module(module) for module in env.py_modules]
    if env.pip:
        entries.append(installed(env.pip, cache / "pip"))
    return Prepared(tuple(dict.fromkeys(entries)), cwd)


def _local(given: str) -> Path:
    scheme, mark, rest = given.partition("://")
    return Path(rest if mark and scheme in ("file", "local") else given).expanduser().absolute()


def _folder(given: str, cache: Path) -> Path:
    path = _local(given)
    if path.is_dir():
        return path
    if path.suffix == ".zip" and path.is_file():
        return _unpacked(path, cache / "folders")
    raise EnvironmentFailedError(
        f"working_dir={given!r}: {path} is no folder and no .zip file. Give one that is there."
    )


def _unpacked(archive: Path, cache: Path) -> Path:
    """Unpacked once for this content; a single folder in it is what is meant, as zips have it."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()[:32]
    with locked_folder(cache / digest) as (folder, fresh):
        if fresh:
            try:
                shutil.unpack_archive(archive, folder, "zip")
            except (zipfile.BadZipFile, shutil.ReadError, OSError) as error:
                raise EnvironmentFailedError(
                    f"working_dir={str(archive)!r} cannot be unpacked: {error}."
                ) from None
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _module(given: str) -> str:
    """What has to be on the path so that it can be imported by its name."""
    path = _local(given)
    if not path.exists():
        raise EnvironmentFailedError(f"py_modules: {given!r}: there is no {path}.")
    return str(path if path.suffix in (".whl", ".zip") else path.parent)
