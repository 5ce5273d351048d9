"""A door's limit of descriptors, in processes that were started with a low one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

_PROGRAM = """
import json, resource, sys
from salver.doors.descriptors import make_room
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(json.dumps([make_room(wanted), *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed", "raised"),
    [
        (300, 2000, 1000, 1000, 1256),  # as far as is needed
        (300, 2000, 5000, 1744, 2000),  # as far as it goes
        (1500, 2000, 1000, 1000, 1500),  # there is room
        (100, 100, 1000, 50, 100),  # there is hardly any
    ],
)
def test_the_limit_is_raised_for_the_connections_and_tells_how_many_there_may_be(
    soft: int, hard: int, wanted: int, allowed: int, raised: int
) -> None:
    arguments = [sys.executable, "-c", _PROGRAM, str(soft), str(hard), str(wanted)]
    said = subprocess.run(arguments, capture_output=True, check=True)
    assert json.loads(said.stdout) == [allowed, raised, hard]
