"""A router with one replica, and its ends of the calls."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.calls.fakes import Bench, FakeReplica


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    """That router; deployments of this process reach it."""
    bench = Bench("a", limit=100)
    bench.cluster.adopt()
    await bench.connect()
    yield bench
    bench.cluster.close()


@pytest.fixture
def a(bench: Bench) -> FakeReplica:
    """The replica."""
    return bench.replicas[0]
