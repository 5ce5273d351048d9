"""Rules for every test: nothing is left behind; warnings are errors (see pyproject)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from salver.testing import leaks

os.environ[leaks.MARK] = str(os.getpid())


@pytest.fixture(autouse=True)
def _no_leaks() -> Iterator[None]:
    """A test ends with no more processes, threads and descriptors than it began with."""
    with leaks.no_leaks():
        yield
