"""The apps of a configuration file, each built in a process of its own, side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from salver.cli.building import Built, Mistake, Order
from salver.engine.process import current_environment
from salver.errors import ConfigError, Problem, SalverError
from salver.launch import door_troubles, prelude
from salver.spec.app import AppSpec
from salver.spec.document import Document
from salver.spec.environment import read_runtime_env
from salver.spec.file import AppEntry, ConfigFile, read_config
from salver.spec.grpc import gRPCOptions
from salver.spec.http import HttpSettings

__all__ = ("ConfigApps", "check_doors", "read_file")

_AT_ONCE: Final = 4
# -P: the directory where the command was given must not shadow modules of ours.
_PROGRAM: Final = (
    "import sys; root, fd, parent = sys.argv[1:]; root in sys.path or sys.path.insert(0, root); "
    "from salver.engine.linux import die_with_parent; die_with_parent(int(parent)); "
    "from salver.cli.building import main; main(int(fd))"
)


def read_file(path: str) -> tuple[ConfigFile, Document]:
    """A configuration by its path; SalverError: it cannot be read, or what is wrong in it."""
    file = Path(path)
    if file.suffix == ".toml":
        raise SalverError(f"{path} is TOML, which is not read here: write YAML or JSON.")
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SalverError(f"{path} cannot be read: {error.strerror}.") from None
    return read_config(path, content, file.absolute().parent)


def check_doors(document: Document, http: HttpSettings, grpc: gRPCOptions) -> None:
    """ConfigError: what the doors of this file cannot use, each with its place."""
    troubles = door_troubles(http, grpc)
    problems = [document.problem_at(option, str(error)) for option, error in troubles]
    if problems:
        raise ConfigError(document.name, problems)


class ConfigApps:
    """Builds what a file says, again and again, and knows what has changed since the last time."""

    def __init__(self, path: str, app_dir: str) -> None:
        self._path = path
        self._app_dir = str(Path(app_dir).absolute())
        self._changed = 0  # how often code has changed that no app was seen to import
        self.files: set[str] = set()  # of the apps' code
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def build(self, config: ConfigFile, document: Document) -> list[AppSpec]:
        """Every app; ConfigError with what is wrong in any of them."""
        orders = [self._order(entry, config.target_capacity) for entry in config.applications]
        with ThreadPoolExecutor(_AT_ONCE, "salver-build") as threads:
            try:
                built = list(threads.map(self._build, orders))
            except KeyboardInterrupt:
                self.stop()
                raise
        self.files |= {file for one in built for file in one.files}
        problems: list[Problem] = [
            document.problem_at(("applications", index, *mistake.path), mistake.message)
            for index, one in enumerate(built)
            for mistake in one.mistakes
        ]
        if problems:
            raise ConfigError(self._path, problems)
        return [one.app for one in built if one.app is not None]

    def stop(self) -> None:
        """End what is being built, which fails; nothing is built any more."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                with suppress(ProcessLookupError):  # it has just ended
                    os.killpg(process.pid, signal.SIGKILL)

    def unseen(self, changed: list[str]) -> None:
        """These files have changed. Where nobody knows whose code one is, all apps are new."""
        if any(file not in self.files for file in changed):
            self._changed += 1

    def _order(self, entry: AppEntry, capacity: float | None) -> Order:
        salt = str(self._changed or "")
        return Order(entry, self._app_dir, salt, capacity, prelude())

    def _build(self, order: Order) -> Built:
        env = current_environment() | read_runtime_env(order.entry.runtime_env).env_vars
        with tempfile.TemporaryFile() as answer:
            process = self._start(answer.fileno(), env)
            if process is None:
                return _failed("it was stopped.")
            try:
                process.communicate(msgspec.msgpack.encode(order))
            finally:
                with self._lock:
                    self._running.remove(process)
            answer.seek(0)
            data = answer.read()
        if process.returncode != 0 or not data:
            return _failed(
                f"the process that imports it ended with exit code {process.returncode}."
            )
        return msgspec.msgpack.decode(data, type=Built)

    def _start(self, fd: int, env: dict[str, str]) -> subprocess.Popen[bytes] | None:
        root = str(Path(__file__).parents[2])
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-P", "-c", _PROGRAM, root, str(fd), str(os.getpid())],
                stdin=subprocess.PIPE,
                pass_fds=(fd,),
                env=env,
                start_new_session=True,  # Ctrl-C is for the command, which ends it
            )
            self._running.append(process)
            return process


def _failed(why: str) -> Built:
    return Built(mistakes=(Mistake(("import_path",), why),))
