"""Clients whose pins are not ours: in processes and with packages of their own."""

from __future__ import annotations

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
    """Where these packages are: installed once, and kept in pytest's cache."""
    assert config.cache is not None
    folder = config.cache.mkdir(packages[0].replace("==", "-"))
    if not (folder / "complete").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
        done = subprocess.run(
            [*command, "--target", str(folder), *packages],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"{packages[0]} cannot be installed: {done.stderr[-300:]}")
        (folder / "complete").touch()
    return folder


def answers(packages: Path, script: str, address: str) -> list[str]:
    """What a script's client saw."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPTS / script), address],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(packages)},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
