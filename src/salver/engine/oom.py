"""Was it the kernel's out-of-memory killer? Counts of the cgroup tell, where they can be read."""

from __future__ import annotations

from pathlib import Path

__all__ = ("OomKills",)


class OomKills:
    """Tells after a SIGKILL of unknown origin whether the count of such kills has grown."""

    def __init__(self, proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> None:
        self._own = _readable(_own_counters(proc, cgroups))
        self._machine = _readable([proc / "vmstat"])
        self._seen = self._count(self._own)
        self._seen_machine = self._count(self._machine)

    def claim(self) -> bool | None:
        """True: one more, in our own group. None: one more on the machine, or nobody tells."""
        if self._own is not None:
            if self._count(self._own) > self._seen:
                self._seen += 1
                return True
            return False
        if self._machine is None:
            return None
        if self._count(self._machine) > self._seen_machine:
            self._seen_machine += 1
            return None
        return False

    @staticmethod
    def _count(path: Path | None) -> int:
        return 0 if path is None else (_oom_kills(path) or 0)


def _own_counters(proc: Path, cgroups: Path) -> list[Path]:
    """Where this process's group keeps its count, in the order of preference."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        number, controllers, group = line.split(":", 2)
        path = group.strip("/")
        if number == "0":
            found.append(cgroups / path / "memory.events")
        elif "memory" in controllers.split(","):
            found.append(cgroups / "memory" / path / "memory.oom_control")
            found.append(cgroups / "memory/memory.oom_control")  # seen from within a container
    return found


def _readable(paths: list[Path]) -> Path | None:
    return next((path for path in paths if _oom_kills(path) is not None), None)


def _oom_kills(path: Path) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None
