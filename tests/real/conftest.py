"""Real instances for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.real.rig import Journal, Running


@pytest.fixture
def running() -> Iterator[Running]:
    """An instance with the default settings."""
    with Running.start() as running:
        yield running


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path)
    yield journal
    journal.close()
