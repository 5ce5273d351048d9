"""Rules for every test: nothing is left behind; warnings are errors (see pyproject)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from salver.testing import leaks

ROOT = Path(__file__).resolve().parents[1]
# No test reads a clock, and hypothesis does not either.
settings.register_profile("salver", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("salver")
os.environ[leaks.MARK] = str(os.getpid())
CENSUS = leaks.Census()
# A shell starts what it puts in the background with Ctrl-C ignored, and programs inherit that:
# the scripts that are interrupted here would never end.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """A test ends with no more processes, threads and descriptors than it began with."""
    with leaks.no_leaks(CENSUS):
        yield


def put(path: Path, text: str) -> None:
    """Write a file as editors save it: nobody reads half of it."""
    new = path.parent.parent / f"{path.parent.name}-{path.name}"
    new.write_text(text)
    new.replace(path)


@dataclass
class Served:
    """A `salver run` in a process of its own."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line on its stdout that matches; fails with all it said when it ends first."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.said.append(text)
            found = re.search(pattern, text)
            if found:
                return found
        words = "".join(self.said) + self.errors()
        raise AssertionError(f"ended with {self.process.wait()}, without {pattern!r}:\n{words}")

    def error(self, text: str) -> None:
        """Return when it has said this on stderr; fails when it ends without."""
        assert self.process.stderr is not None
        assert any(text in line for line in self.process.stderr), f"ended without {text!r}"

    def errors(self) -> str:
        """What else it wrote to stderr, logs included; to its end."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    @property
    def url(self) -> str:
        """Where it answers, once it does."""
        return self.line(r"is ready: (\S+)").group(1)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Ask it to stop; its exit code."""
        self.process.send_signal(number)
        assert self.process.stdout is not None
        self.said.append(self.process.stdout.read())
        return self.process.wait()


class Command:
    """Runs `salver ...`; what still runs at the end of a test is killed."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(
        self, *args: str, cwd: Path = ROOT / "examples", first: Path | None = None
    ) -> Served:
        """`first`: where its processes look for modules before anywhere else."""
        path = [str(place) for place in (first, ROOT / "src") if place is not None]
        process = subprocess.Popen(
            [sys.executable, "-m", "salver", *args],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return Served(process)


@pytest.fixture
def salver_command() -> Iterator[Command]:
    """`salver_command("run", "hello:app", "--port", "0").url`."""
    with ExitStack() as stack:
        yield Command(stack)
