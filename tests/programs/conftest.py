"""Programs as users of Ray Serve write them, with one word changed in their imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.serving import serving

HERE = Path(__file__).parent


@pytest.fixture
def _no_leaks() -> None:
    """An instance serves a whole module here; what it leaves is looked at after its end."""


@pytest.fixture(scope="module")
def door() -> Iterator[str]:
    """An instance; where its HTTP door answers."""
    with serving() as instance:
        yield instance.url


@pytest.fixture(scope="module")
def client(door: str) -> Iterator[httpx.Client]:
    """An HTTP client of the instance."""
    with httpx.Client(base_url=door, timeout=60) as client:
        yield client


Script = Callable[..., str]


def run_program(*command: str, stdin: str = "") -> str:
    """Run a program to its end on a free port; what it printed. Fails with its errors."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=HERE / "scripts",
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "SALVER_HTTP_PORT": "0"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
