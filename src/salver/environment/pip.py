"""Packages of one app: installed once into an environment that also sees those of this one.

The replicas of the app put its site-packages in front of `sys.path`. They are forked from a
process that has imported what Salver itself needs: of those packages they keep what is loaded.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from salver.environment.cache import locked_folder
from salver.errors import EnvironmentFailedError

__all__ = ("installed",)

_SHOWN: Final = 15  # lines of pip's output in an error


def installed(packages: list[str] | str, cache: Path) -> str:
    """The site-packages folder that has them."""
    requirements = _requirements(packages)
    with locked_folder(cache / _digest(requirements)) as (folder, fresh):
        if fresh:
            _install(requirements, folder)
    return str(_site(folder))


def _requirements(packages: list[str] | str) -> list[str]:
    """As pip takes them, one argument each."""
    if isinstance(packages, list):
        return packages
    file = Path(packages).expanduser().absolute()
    if not file.is_file():
        raise EnvironmentFailedError(
            f"pip={packages!r}: there is no requirements file {file}. Packages are given as a list."
        )
    return ["--requirement", str(file)]


def _digest(requirements: list[str]) -> str:
    """Changes with the list, with the files it names, and with what it is installed beside."""
    digest = hashlib.sha256("\0".join([sys.version, sys.prefix, *requirements]).encode())
    for item in requirements:
        path = Path(item)
        if path.is_file():
            digest.update(path.read_bytes())
        elif path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.is_file() and not _is_made(file.relative_to(path)):
                    digest.update(f"{file.relative_to(path)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:32]


def _is_made(path: Path) -> bool:
    """What building a package leaves in its folder."""
    made = ("build", "__pycache__", ".git")
    return any(part in made or part.endswith(".egg-info") for part in path.parts)


def _site(folder: Path) -> Path:
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))


def _install(requirements: list[str], folder: Path) -> None:
    if find_spec("pip") is None:
        raise EnvironmentFailedError(
            f"pip={requirements!r} needs pip in the environment of Salver. Install it there: "
            "`python -m ensurepip`."
        )
    venv.EnvBuilder(symlinks=True).create(folder)
    # A virtual environment of a virtual environment sees only the first one's interpreter.
    beside = [entry for entry in sys.path if entry.endswith(("site-packages", "dist-packages"))]
    (_site(folder) / "beside.pth").write_text("".join(f"{entry}\n" for entry in beside))
    print(f"Installing {' '.join(requirements)} into {folder}.", file=sys.stderr)  # noqa: T201
    command = [
        *(sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install"),
        *("--disable-pip-version-check", "--no-input", "--progress-bar", "off", *requirements),
    ]
    _run(command, requirements)


def _run(command: list[str], requirements: list[str]) -> None:
    """Show what pip does while it does it, and its last words when it fails."""
    said: list[str] = []
    with subprocess.Popen(  # noqa: S603 - pip, with the user's own list
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="backslashreplace",
    ) as process:  # fmt: skip
        for line in process.stdout or ():
            print(f"  {line.rstrip()}", file=sys.stderr)  # noqa: T201
            said = [*said, line.rstrip()][-_SHOWN:]
    if process.returncode != 0:
        raise EnvironmentFailedError(
            f"pip={requirements!r} could not be installed{os.linesep}" + "\n".join(said)
        )
