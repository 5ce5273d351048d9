"""Clients whose pins are not ours: in processes and with packages of their own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

# What KServe's client needs beside what our own tests do; without the pins of its server.
KSERVE = (
    "kserve==0.21.0", "cloudevents==1.13.0", "deprecation", "durationpy", "grpc-interceptor",
    "kubernetes", "oauthlib", "requests-oauthlib", "six", "tabulate", "timing-asgi", "uvicorn",
    "websocket-client",
)  # fmt: skip

# Generated from the protocol's own file.
SPECIFICATION = ("open-inference-grpc==2.0.0",)

SCRIPTS = Path(__file__).parent / "scripts"

# What clients of KServe see, over REST and over gRPC.
ALIKE = [
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
]


def installed(config: pytest.Config, packages: tuple[str, ...]) -> Path:
    """Where these packages are: installed once, and kept in pytest's cache.

    A judge that cannot be installed is a failure. Whoever has no index says so: `NO_JUDGES=1`.
    """
    assert config.cache is not None
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    folder = config.cache.mkdir(f"{packages[0].replace('==', '-')}-{python}")
    wanted, complete = "\n".join(packages), folder / "complete"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several processes may run the tests
        if complete.exists() and complete.read_text() == wanted:
            return folder
        if os.environ.get("NO_JUDGES") == "1":
            pytest.skip(f"{packages[0]} is not installed, and NO_JUDGES=1 says not to try")
        # Not compiled: of what is installed there little is imported.
        how = ["--quiet", "--no-deps", "--no-compile", "--upgrade"]
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", *how, "--target", str(folder), *packages],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.fail(
                f"{packages[0]} cannot be installed, so nobody judges (NO_JUDGES=1 lets the tests "
                f"go on without):\n{done.stderr[-1000:]}"
            )
        complete.write_text(wanted)
    return folder


def answers(packages: Path, script: str, address: str) -> list[str]:
    """What a script's client saw."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPTS / script), address],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(packages)},
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
