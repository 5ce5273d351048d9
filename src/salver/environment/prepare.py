"""From a `runtime_env` to where a process starts and what it can import."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from salver.environment.archive import only_folder, unpacked
from salver.environment.pip import installed
from salver.errors import EnvironmentFailedError
from salver.spec.environment import RuntimeEnv, is_remote

__all__ = ("Prepared", "prepare")

_REMOTE: Final = "salver.environment.remote"  # with urllib, which few need


@dataclass(frozen=True)
class Prepared:
    """What goes in front of `sys.path`, and the working directory ("": as it is)."""

    sys_path: tuple[str, ...] = ()
    cwd: str = ""


def prepare(env: RuntimeEnv, cache: Path) -> Prepared:
    """Check the folders, fetch and unpack zips, install the packages. EnvironmentFailedError says
    what is not there or could not be done."""
    entries: list[str] = []
    cwd = ""
    if env.working_dir:
        cwd = str(_folder(env.working_dir, cache))
        entries.append(cwd)
    entries += [_module(module, cache) for module in env.py_modules]
    if env.pip:
        entries.append(installed(env.pip, cache / "pip"))
    return Prepared(tuple(dict.fromkeys(entries)), cwd)


def _local(given: str) -> Path:
    scheme, mark, rest = given.partition("://")
    return Path(rest if mark and scheme in ("file", "local") else given).expanduser().absolute()


def _fetched(given: str, cache: Path, said: str) -> Path:
    folder: Path = import_module(_REMOTE).fetched(given, cache, said)
    return folder


def _folder(given: str, cache: Path) -> Path:
    said = f"working_dir={given!r}"
    if is_remote(given):
        return only_folder(_fetched(given, cache, said))
    path = _local(given)
    if path.is_dir():
        return path
    if path.suffix == ".zip" and path.is_file():
        return only_folder(unpacked(path, cache / "folders", said))
    raise EnvironmentFailedError(
        f"{said}: {path} is no folder and no .zip file. Give one that is there."
    )


def _module(given: str, cache: Path) -> str:
    """What has to be on the path so that it can be imported by its name."""
    if is_remote(given):
        return str(_root(_fetched(given, cache, f"py_modules: {given!r}")))
    path = _local(given)
    if not path.exists():
        raise EnvironmentFailedError(f"py_modules: {given!r}: there is no {path}.")
    return str(path if path.suffix in (".whl", ".zip") else path.parent)


def _root(folder: Path) -> Path:
    """Of what was unpacked: the folder that holds the packages, not the one package itself."""
    inside = only_folder(folder)
    return folder if (inside / "__init__.py").exists() else inside
