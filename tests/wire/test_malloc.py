"""In a process of its own: what the allocator is told holds for good."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

_CODE = """
import resource
from salver.wire.malloc import keep_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {kept}:
    keep_memory()
[b"x" * (8 << 20) for _ in range(6)]
before = faults()
for _ in range(20):
    [b"x" * (8 << 20) for _ in range(6)]
print(faults() - before)
"""


def _faults(*, kept: bool) -> int:
    command = [sys.executable, "-c", _CODE.format(kept=kept)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_memory_that_was_touched_once_is_used_again() -> None:
    assert _faults(kept=True) * 10 < _faults(kept=False)
