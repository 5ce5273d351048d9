"""Real keepers with small test processes; every wait is on an event and bounded."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from typing import Any

from salver.engine.owner import KeeperProcess

ENTRIES = {
    "controller": "entries:controller",
    "ingress": "entries:door",
    "replica": "entries:replica",
}
PATIENCE_S = 60.0


def wait_gone(*pids: int) -> None:
    """Return when these processes are dead (a zombie counts)."""
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            assert select.select([fd], [], [], PATIENCE_S)[0], f"process {pid} lives on"
        finally:
            os.close(fd)


class Control:
    """The test's line to the test controller."""

    def __init__(self, instance: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(f"{instance}/control.sock")
        self._lines = self._socket.makefile("rb")

    def ask(self, do: str, **rest: Any) -> Any:
        self._socket.sendall(json.dumps({"do": do, **rest}).encode() + b"\n")
        answer = json.loads(self._lines.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["ok"]

    def start(self, id_: str, do: str = "wait", **rest: Any) -> int:
        labels = {"do": do, **rest.pop("labels", {})}
        self.ask("start", process={"id": id_, "kind": "replica", "labels": labels, **rest})
        pid: int = next(p["pid"] for p in self.ask("list") if p["id"] == id_)
        return pid

    def watch(self) -> None:
        """From now on this line carries exits only."""
        self._socket.sendall(b'{"do": "exits"}\n')

    def next_exit(self) -> dict[str, Any]:
        exit_: dict[str, Any] = json.loads(self._lines.readline())
        return {**exit_["exit"], "reason": exit_["reason"]}

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


class Log:
    """What the keeper writes to its stderr, line by line."""

    def __init__(self, fd: int) -> None:
        self.lines: list[str] = []
        self._fd = fd
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with open(self._fd, errors="replace") as pipe:  # noqa: PTH123 - a descriptor
            for line in pipe:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()

    def wait_for(self, part: str) -> str:
        """The first line that holds this."""

        def found() -> str | None:
            return next((line for line in self.lines if part in line), None)

        with self._news:
            assert self._news.wait_for(lambda: found() is not None, PATIENCE_S), self.lines[-20:]
            return found() or ""

    def join(self) -> None:
        self._thread.join()


class Rig:
    """One keeper and what a test needs to see of it."""

    def __init__(self, keeper: KeeperProcess, instance: str, log: Log) -> None:
        self.keeper = keeper
        self.instance = instance
        self.log = log
        self._controls: list[Control] = []

    def control(self) -> Control:
        control = Control(self.instance)
        self._controls.append(control)
        return control

    def close(self) -> None:
        for control in self._controls:
            control.close()
