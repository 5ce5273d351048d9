"""The server of these tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio

from tests.doors.http2.rig import Client, Echo


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    await echo.start()
    yield echo
    await echo.server.drain(0)


@pytest_asyncio.fixture
async def client(echo: Echo) -> AsyncIterator[Client]:
    client = await Client.connect(echo.port)
    yield client
    client.close()
    with suppress(OSError):
        await client.writer.wait_closed()


@pytest.fixture
def _one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test sends comes at once, however slow the machine is; half of it is enough."""
    monkeypatch.setattr("salver.doors.http2.patience._MOST", 10_000)
    monkeypatch.setattr("salver.doors.http2.patience._PER_SECOND", 0)
