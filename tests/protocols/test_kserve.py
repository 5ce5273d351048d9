"""KServe's Python client, whose pins are not ours: in a process and with packages of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# What the client needs beside what our own tests do; without the pins of its server.
PACKAGES = (
    "kserve==0.21.0", "cloudevents==1.13.0", "deprecation", "durationpy", "grpc-interceptor",
    "kubernetes", "oauthlib", "requests-oauthlib", "six", "tabulate", "timing-asgi", "uvicorn",
    "websocket-client",
)  # fmt: skip
SCRIPT = Path(__file__).parent / "scripts" / "kserve_client.py"


@pytest.fixture(scope="module")
def packages(request: pytest.FixtureRequest) -> Path:
    """Where they are: installed once, and kept in pytest's cache."""
    folder = request.config.cache.mkdir("kserve-0.21.0")
    if not (folder / "complete").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        done = subprocess.run(
            [*command, "--target", str(folder), *PACKAGES],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"KServe's client cannot be installed: {done.stderr[-300:]}")
        (folder / "complete").touch()
    return folder


@pytest.mark.timeout(180)  # the first time it is installed
def test_the_client_of_kserve_is_answered(server: str, packages: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT), server],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(packages)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "live True",
        "ready True",
        "model True",
        "FP32 True True 7",
        "FP32 False True 7",
        "INT64 True True 7",
        "INT64 False True 7",
        "BOOL True True 7",
        "BOOL False True 7",
        "FP16 True True 7",
        "v1 {'predictions': [2.0, 4.0]}",
        "v1 ready True",
    ]
