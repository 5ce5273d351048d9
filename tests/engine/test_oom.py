"""Whether a SIGKILL came from the kernel's out-of-memory killer."""

from __future__ import annotations

from pathlib import Path

import pytest

from salver.core.ports import Exit
from salver.engine.oom import OomKills


class Kernel:
    """A /proc and a /sys/fs/cgroup of a test's own."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.cgroups = root / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.cgroups.mkdir()

    def cgroup(self, lines: str) -> None:
        (self.proc / "self/cgroup").write_text(lines)

    def count(self, path: str, kills: int) -> None:
        file = self.cgroups / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"oom 5\noom_kill {kills}\noom_group_kill 0\n")

    def machine(self, kills: int) -> None:
        (self.proc / "vmstat").write_text(f"nr_free_pages 1\noom_kill {kills}\n")

    def watch(self) -> OomKills:
        return OomKills(self.proc, self.cgroups)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("0::/a/b\n", "a/b/memory.events"),
        ("4:memory:/a/b\n0::/\n", "memory/a/b/memory.oom_control"),
    ],
)
def test_a_count_of_our_own_group_that_grew_tells(kernel: Kernel, line: str, file: str) -> None:
    kernel.cgroup(line)
    kernel.count(file, 2)
    kills = kernel.watch()
    assert kills.claim() is False
    kernel.count(file, 4)
    assert [kills.claim() for _ in range(3)] == [True, True, False]


def test_a_kill_elsewhere_on_the_machine_leaves_it_open(kernel: Kernel) -> None:
    kernel.machine(1)
    kills = kernel.watch()
    assert kills.claim() is False
    kernel.machine(2)
    assert kills.claim() is None


def test_where_nothing_can_be_read_nothing_is_known(kernel: Kernel) -> None:
    assert kernel.watch().claim() is None


@pytest.mark.parametrize(
    ("oom", "reason"),
    [
        (True, "out of memory (killed by signal 9 (SIGKILL))"),
        (None, "killed by signal 9 (SIGKILL), possibly out of memory"),
        (False, "killed by signal 9 (SIGKILL)"),
    ],
)
def test_the_reason_says_what_is_known(oom: bool | None, reason: str) -> None:
    assert Exit("a", "replica", 1, signal=9, out_of_memory=oom).reason == reason
