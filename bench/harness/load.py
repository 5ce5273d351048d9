"""The loads that a case puts on a server; each gives its figures as a dictionary of numbers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from bench.harness.machine import ROOT, find_wrk
from bench.harness.servers import Request, Server, ServerError
from bench.rpc import rpc_port

GRACE_S = 60.0
INSTALL_WRK = "wrk is missing: `apt install wrk` (Debian, Ubuntu) or https://github.com/wg/wrk"


@dataclass(frozen=True)
class Bench:
    """What a load needs besides the server: interpreters, and a folder."""

    python: str  # with uvloop
    client: str  # with what Salver needs
    scratch: Path


Figures = dict[str, float]


class Load(Protocol):
    """One way to measure a server. `timed` loads are warmed up, repeated and metered."""

    @property
    def key(self) -> str:
        """The load's name in the results."""

    @property
    def timed(self) -> bool:
        """Whether it lasts for the given seconds."""

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """Measure."""


@dataclass(frozen=True)
class Wrk:
    """A closed loop of keep-alive connections, by wrk."""

    connections: int
    body_bytes: int = 0
    chunks: int = 0
    timed: bool = True

    @property
    def key(self) -> str:
        """c32, or c4-588KiB."""
        return f"c{self.connections}" + (
            f"-{self.body_bytes // 1024}KiB" if self.body_bytes else ""
        )

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """Rate and latency, as wrk sees them."""
        wrk = find_wrk()
        if wrk is None:
            raise ServerError(INSTALL_WRK)
        asked = self._sized(request)
        if self.body_bytes:
            self._check(server, asked)
        env = {**os.environ, "BENCH_BODY": "", "BENCH_TYPE": asked.content_type}
        env |= {"BENCH_HEADER": ": ".join(asked.header)} if asked.header else {}
        if asked.body:
            env["BENCH_BODY"] = _saved(asked, bench)
        whole = max(1, round(seconds))  # wrk knows whole seconds only
        argv = [wrk, "-t1", f"-c{self.connections}", f"-d{whole}s", "--timeout", "10s"]
        argv += ["-s", str(ROOT / "bench" / "wrk.lua"), _url(server, asked)]
        figures = _client(argv, env, whole)
        if self.chunks:
            figures["chunks_rate"] = figures["rate"] * self.chunks
        return figures

    def _sized(self, request: Request) -> Request:
        return replace(request, body=os.urandom(self.body_bytes)) if self.body_bytes else request

    def _check(self, server: Server, request: Request) -> None:
        status, body = server.ask(request)
        if status != 200 or json.loads(body).get("length") != self.body_bytes:
            raise ServerError(f"upload of {self.body_bytes} bytes: {status} {body[:200]!r}")


@dataclass(frozen=True)
class OpenRate:
    """A given rate, by our own open-loop generator."""

    rate: int
    connections: int
    timed: bool = True

    @property
    def key(self) -> str:
        """open2000."""
        return f"open{self.rate}"

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """Latency from the intended send time."""
        argv = ["--rate", str(self.rate), "--connections", str(self.connections)]
        argv += ["--seconds", str(seconds)]
        if request.body:
            argv += ["--body", _saved(request, bench), "--type", request.content_type]
        return _own_client(bench, "bench.openloop", [_url(server, request), *argv], seconds)


@dataclass(frozen=True)
class Streams:
    """Readers of streams; gives the time to the first byte."""

    clients: int
    timed: bool = True

    @property
    def key(self) -> str:
        """clients32."""
        return f"clients{self.clients}"

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """Read streams one after another."""
        argv = [_url(server, request), "--clients", str(self.clients), "--seconds", str(seconds)]
        return _own_client(bench, "bench.streams", argv, seconds)


@dataclass(frozen=True)
class Inner:
    """Calls between two processes of the server; the server itself counts them."""

    inflight: int
    timed: bool = True

    @property
    def key(self) -> str:
        """k100."""
        return f"k{self.inflight}"

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """One GET that lasts as long as the loop of calls."""
        path = f"{request.path}?inflight={self.inflight}&seconds={seconds}"
        status, body = server.ask(replace(request, path=path), timeout=seconds + GRACE_S)
        if status != 200:
            raise ServerError(f"GET {path}: {status} {body[:200]!r}\n{server.tail()}")
        figures = {name: float(value) for name, value in json.loads(body).items()}
        figures["rate"] = figures["requests"] / figures["seconds"]
        return figures


@dataclass(frozen=True)
class Rpc:
    """A closed loop of gRPC calls over several connections, by grpc's own asyncio client."""

    clients: int
    talk: str = "hello"
    timed: bool = True

    @property
    def key(self) -> str:
        """rpc32."""
        return f"rpc{self.clients}"

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """Rate and latency, as the clients see them."""
        argv = [f"127.0.0.1:{rpc_port(server.port)}", "--talk", self.talk]
        argv += ["--clients", str(self.clients), "--channels", str(min(self.clients, 4))]
        return _own_client(bench, "bench.rpc", [*argv, "--seconds", str(seconds)], seconds)


@dataclass(frozen=True)
class Tensors:
    """One call after another of a model that gives back a tensor of 10 MB, by Salver's client."""

    key: str  # "shared" memory, or "http"
    timed: bool = True

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """Beside copies of the tensor in the same process."""
        argv = [bench.client, "-m", "bench.local_client", f"http://127.0.0.1:{server.port}"]
        argv += ["--seconds", str(seconds), *(["--http"] if self.key == "http" else [])]
        # The temporary folder is the server's: there clients find the instances of this machine.
        places = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "TMPDIR": str(bench.scratch)}
        return _client(argv, {**os.environ, **places}, seconds)


@dataclass(frozen=True)
class Start:
    """How long the server took to answer first."""

    key: str = "start"
    timed: bool = False

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """It has been measured already."""
        return {"start_s": server.ready_s, "foreign_cores": server.start_foreign_cores}


@dataclass(frozen=True)
class Idle:
    """Memory once the server has come to rest."""

    key: str = "idle"
    timed: bool = False

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """PSS of the whole tree, and how many processes it has."""
        for _ in range(20):
            server.ask(request)
        memory = server.settled_memory_mib()
        return {"pss_mib": memory, "processes": float(len(server.processes()))}


@dataclass(frozen=True)
class Further:
    """Replicas added one at a time to a running deployment, in a server that talks."""

    key: str = "further"
    timed: bool = False
    replicas: Sequence[int] = (2, 3, 4)

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """The median time to ready; the memory added, shared out over the added replicas."""
        before, began = server.settled_memory_mib(), len(server.processes())
        took = sorted(float(server.tell(str(wanted))) for wanted in self.replicas)
        added = server.settled_memory_mib() - before
        grown = len(server.processes()) - began
        if grown < len(self.replicas):
            raise ServerError(f"{len(self.replicas)} replicas asked for, {grown} processes came")
        return {
            "ready_ms": took[len(took) // 2],
            "ready_max_ms": took[-1],
            "added_mib": added / len(self.replicas),
        }


@dataclass(frozen=True)
class Step:
    """Load all of a sudden on a deployment that autoscales from one replica to so many."""

    clients: int
    replicas: int
    patience_s: float = 90.0
    timed: bool = False

    @property
    def key(self) -> str:
        """step16."""
        return f"step{self.clients}"

    def run(self, server: Server, request: Request, bench: Bench, seconds: float) -> Figures:
        """When the second replica answered, and when the last one did."""
        argv = [_url(server, request), "--clients", str(self.clients)]
        argv += ["--replicas", str(self.replicas), "--patience", str(self.patience_s)]
        figures = _own_client(bench, "bench.step", argv, self.patience_s)
        return {name: figures[name] for name in ("second_ms", "capacity_ms", "errors")}


def _url(server: Server, request: Request) -> str:
    return f"http://127.0.0.1:{server.port}{request.path}"


def _saved(request: Request, bench: Bench) -> str:
    file = bench.scratch / "body"
    file.write_bytes(request.body)
    return str(file)


def _own_client(bench: Bench, module: str, argv: Sequence[str], seconds: float) -> Figures:
    """Run one of our own load generators."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return _client([bench.python, "-m", module, *argv], env, seconds)


def _client(argv: Sequence[str], env: dict[str, str], seconds: float) -> Figures:
    """Run a load generator; its last word is a line `FIGURES {...}`."""
    limit = seconds + GRACE_S
    try:
        done = subprocess.run(
            argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        raise ServerError(f"the load generator had not ended after {limit:.0f} s") from None
    for line in done.stdout.splitlines():
        if line.startswith("FIGURES "):
            figures = {name: float(value) for name, value in json.loads(line[8:]).items()}
            figures["rate"] = figures["requests"] / figures["seconds"]
            return figures
    said = (done.stderr or done.stdout).strip()
    raise ServerError(f"the load generator gave no figures: {said[-400:]}")
