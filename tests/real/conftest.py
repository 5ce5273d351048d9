"""Real instances for the tests of this folder."""

from __future__ import annotations

import asyncio
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


@pytest_asyncio.fixture(autouse=True)
async def _last_ticks() -> AsyncIterator[None]:
    """Transports that a test has aborted end in the ticks after."""
    yield
    for _ in range(3):
        await asyncio.sleep(0)
