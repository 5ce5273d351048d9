"""One server of one contender: started in a session of its own, verified, ended by its own pids."""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bench.harness.machine import ROOT
from bench.harness.processes import (
    ProcessStat,
    bench_cpu_s,
    family,
    machine_busy_s,
    pss_mib,
    read_stat,
)

PROBE_S = 0.005
START_LIMIT_S = 120.0
STOP_LIMIT_S = 25.0
MARK = "SALVER_BENCH_SERVER"


class ServerError(Exception):
    """A server did not start, or answers wrongly."""


@dataclass(frozen=True)
class Request:
    """What a contender is asked in one case, and how to know the right answer."""

    right: Callable[[bytes], bool]
    path: str = "/"
    method: str = "GET"
    body: bytes = b""
    content_type: str = "application/json"
    header: tuple[str, str] | None = None  # one more


@dataclass(frozen=True)
class Launch:
    """How a server is started: the command, what it adds to the environment, its port."""

    argv: Sequence[str]
    port: int
    env: Mapping[str, str] = field(default_factory=dict)
    talks: bool = False  # answers lines of its stdin on its stdout


class Server:
    """A running server and everything that belongs to it."""

    def __init__(self, launch: Launch, scratch: Path) -> None:
        self.port = launch.port
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        self.ready_s = self.start_foreign_cores = float("nan")
        self.left_behind = 0
        self._log_path = scratch / "server.log"
        env = {**_environment(scratch), **launch.env, MARK: self.mark.removeprefix(f"{MARK}=")}
        self._busy, self._bench = machine_busy_s(), sum(bench_cpu_s())
        self._began = time.perf_counter()
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                list(launch.argv),
                cwd=ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if launch.talks else log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The first process of the server."""
        return self._process.pid

    def processes(self) -> dict[int, ProcessStat]:
        """All processes of the server that are alive."""
        return family(self.pid, self.mark)

    def cpu_s(self) -> float:
        """CPU time of the living processes so far."""
        return sum(stat.cpu_s for stat in self.processes().values())

    def memory_mib(self) -> float:
        """PSS of the whole tree."""
        return pss_mib(self.processes())

    def settled_memory_mib(self, patience_s: float = 15.0) -> float:
        """PSS once two looks, a second apart, agree within 1 %."""
        deadline, before = time.monotonic() + patience_s, self.memory_mib()
        while True:
            time.sleep(1.0)
            now = self.memory_mib()
            if abs(now - before) <= 0.01 * now or time.monotonic() > deadline:
                return now
            before = now

    def wait_ready(self, request: Request) -> None:
        """Ask until the answer is a 200, then check that it is the right answer."""
        while True:
            status, body = self.ask(request)
            if status == 200:
                self._started()
                break
            if self._process.poll() is not None:
                raise ServerError(f"ended with {self._process.returncode} at start\n{self.tail()}")
            if time.perf_counter() - self._began > START_LIMIT_S:
                last = f"last answer: {status or 'none'} {body[:200]!r}"
                raise ServerError(f"no 200 within {START_LIMIT_S:.0f} s; {last}\n{self.tail()}")
            time.sleep(PROBE_S)
        if not request.right(body):
            raise ServerError(f"wrong answer to {request.method} {request.path}: {body[:200]!r}")

    def _started(self) -> None:
        self.ready_s = time.perf_counter() - self._began
        foreign = machine_busy_s() - self._busy - self.cpu_s() - sum(bench_cpu_s()) + self._bench
        self.start_foreign_cores = max(0.0, foreign / self.ready_s)

    def ask(self, request: Request, timeout: float = 30.0) -> tuple[int, bytes]:
        """One request; status 0 when nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        headers = {"Content-Type": request.content_type} if request.body else {}
        headers |= dict([request.header] if request.header else [])
        try:
            connection.request(request.method, request.path, request.body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, repr(error).encode()
        finally:
            connection.close()

    def tell(self, line: str, timeout: float = 60.0) -> str:
        """Write a line to the server's stdin and read the line that it answers."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ServerError("this server does not talk")
        stdin.write(line.encode() + b"\n")
        stdin.flush()
        return _read_line(stdout, timeout) or self._silent(line)

    def _silent(self, line: str) -> str:
        raise ServerError(f"no answer to '{line}'\n{self.tail()}")

    def tail(self, lines: int = 12) -> str:
        """The end of the server's log."""
        text = self._log_path.read_text(errors="replace").strip().splitlines()
        return "\n".join(text[-lines:])

    def stop(self) -> None:
        """End the server by its own pids; `left_behind` counts what outlived an orderly end."""
        known = self.processes()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        _wait_gone([self.pid], STOP_LIMIT_S)
        left = self._still_alive(known)
        if left:  # give the children of an orderly end a moment of their own
            _wait_gone(left, 2.0)
            left = self._still_alive(known)
        for name in (signal.SIGTERM, signal.SIGKILL):
            rest = self._still_alive(known)
            for pid in rest:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, name)
            _wait_gone(rest, 3.0)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self.left_behind = len(left)

    def _still_alive(self, known: dict[int, ProcessStat]) -> list[int]:
        """Pids of this server alone: a pid that was reused has another start time."""
        now = {stat.pid: stat.started for stat in self.processes().values()}
        for stat in known.values():
            again = read_stat(stat.pid)
            if again is not None and again.state != "Z" and again.started == stat.started:
                now[again.pid] = again.started
        return list(now)


def _environment(scratch: Path) -> dict[str, str]:
    """A plain environment; temporary files of the servers stay in the scratch folder."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {
        "TMPDIR": str(scratch),
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }


def _read_line(stdout: IO[bytes], timeout: float) -> str:
    ready, _, _ = select.select([stdout], [], [], timeout)
    return stdout.readline().decode().strip() if ready else ""


def _wait_gone(pids: Sequence[int], limit_s: float) -> None:
    """Return when all have ended, or after the limit."""
    deadline = time.monotonic() + limit_s
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        finally:
            os.close(fd)


@contextlib.contextmanager
def running(launch: Launch, request: Request, scratch: Path) -> Iterator[Server]:
    """A server that answers rightly; ended whatever happens."""
    server = Server(launch, scratch)
    try:
        server.wait_ready(request)
        yield server
    finally:
        server.stop()
