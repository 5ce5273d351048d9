"""The keeper's table of processes: forks them, reaps them, says how each one ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from salver.core.ports import Exit, ProcessSpec, ProcessStatus
from salver.engine.config import KeeperConfig
from salver.engine.entries import Entries
from salver.engine.oom import OomKills
from salver.engine.orphans import adopted, end_adopted
from salver.engine.output import Output, Source
from salver.engine.process import CAUGHT, Birth, live
from salver.engine.seat import Seat
from salver.errors import EngineError

__all__ = ("Child", "Children")


class Child:
    """One process that the keeper forked."""

    def __init__(self, spec: ProcessSpec, pid: int, output: Source) -> None:
        self.spec = spec
        self.pid = pid
        self.output = output
        self.pipe_inode = os.fstat(output.fd).st_ino
        self.born = time.monotonic()
        self.asked = False


class Children:
    """Every living process, by id."""

    def __init__(
        self,
        output: Output,
        entries: Entries,
        config: KeeperConfig,
        died: Callable[[Exit, float], None],
    ) -> None:
        self._output = output
        self._entries = entries
        self._config = config
        self._died = died
        self._oom = OomKills()
        self._by_id: dict[str, Child] = {}
        self._by_pid: dict[int, Child] = {}

    def living(self) -> int:
        return len(self._by_id)

    def statuses(self) -> list[ProcessStatus]:
        return [
            ProcessStatus(c.spec.id, c.spec.kind, c.pid, c.spec.labels)
            for c in self._by_id.values()
        ]

    def start(
        self,
        spec: ProcessSpec,
        fds: dict[str, int] | None = None,
        settings: dict[str, Any] | None = None,
    ) -> int:
        """Fork this process; return its pid."""
        if spec.id in self._by_id:
            raise EngineError(f"A process with the id {spec.id!r} is running already.")
        entry = self._entries.find(spec.kind)
        seat = Seat(
            id=spec.id,
            kind=spec.kind,
            instance=self._config.instance,
            labels=spec.labels,
            fds=fds or {},
            settings={**self._config.settings.get(spec.kind, {}), **(settings or {})},
            logging=self._config.logging,
        )
        env = {**self._config.env.get(spec.kind, {}), **spec.env}
        reader, writer = os.pipe2(os.O_CLOEXEC)
        birth = Birth(seat, entry, env, spec.resources.num_cpus, writer, os.getpid())
        # A signal for the newborn waits until its handlers are its own: those that it inherits
        # would swallow it, and tell this process that it was meant.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
        try:
            pid = os.fork()
            if pid == 0:
                live(birth)
        except OSError as error:
            os.close(reader)
            os.close(writer)
            raise EngineError(f"Cannot fork {spec.id}: {error.strerror}.") from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(writer)
        source = self._output.add(reader, spec.id)
        self._by_id[spec.id] = self._by_pid[pid] = Child(spec, pid, source)
        return pid

    def stop(self, process_id: str, *, force: bool) -> None:
        child = self._by_id.get(process_id)
        if child is not None:
            child.asked = True
            os.kill(child.pid, signal.SIGKILL if force else signal.SIGTERM)

    def stop_all(self, *, force: bool) -> None:
        for name in self._by_id:
            self.stop(name, force=force)

    def stop_kind(self, kind: str) -> None:
        for name, child in self._by_id.items():
            if child.spec.kind == kind:
                self.stop(name, force=False)

    def reap(self) -> None:
        """Bury everyone who has died, and end the orphans they leave."""
        dead: list[tuple[Child, Exit]] = []
        anyone = False
        for pid, status in _zombies():
            anyone = True
            child = self._by_pid.pop(pid, None)
            if child is not None:
                del self._by_id[child.spec.id]
                self._output.end(child.output)  # its last words are part of what it died of
                dead.append((child, self._explain(child, status)))
        # The controller first: what died with it is to be told to the next one.
        dead.sort(key=lambda pair: pair[1].kind != "controller")
        for child, exit_ in dead:
            self._died(exit_, time.monotonic() - child.born)
        if anyone:
            self._end_orphans()

    def end_rest(self) -> None:
        """At the very end: kill what users' code left behind, generation by generation."""
        while orphans := adopted(set()):
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(-1, 0)

    def _end_orphans(self) -> None:
        pipes = {child.pipe_inode: child.spec.id for child in self._by_id.values()}
        end_adopted(set(self._by_pid), set(self._by_id), pipes)

    def _explain(self, child: Child, status: int) -> Exit:
        code = os.waitstatus_to_exitcode(status)
        killed = code == -signal.SIGKILL and not child.asked
        return Exit(
            id=child.spec.id,
            kind=child.spec.kind,
            pid=child.pid,
            code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            out_of_memory=self._oom.claim() if killed else False,
            asked=child.asked,
            labels=child.spec.labels,
            said="" if child.asked else child.output.last_words(),
        )


def _zombies() -> Iterable[tuple[int, int]]:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status
