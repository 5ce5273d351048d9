"""Loops and transports that every test of the wire runs on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from .peers import Pair


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=["unix", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"unix:{tmp_path / 's'}" if request.param == "unix" else "memory:s"


@pytest.fixture
async def pair(address: str) -> AsyncIterator[Pair]:
    pair = await Pair.make(address)
    yield pair
    await pair.close()
