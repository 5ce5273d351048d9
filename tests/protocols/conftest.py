"""One instance with the models of `models.py`, for a module of judges."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import resource_tracker

import httpx
import pytest

from salver import serve
from salver.api import session
from salver.testing import leaks
from tests.doors.grpc.warm import warm
from tests.protocols import models


@pytest.fixture
def _no_leaks() -> None:
    """An instance serves a whole module here; what it leaves is looked at after its end."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Where it answers: `http://host:port`."""
    resource_tracker.ensure_running()  # of multiprocessing: stays until this process ends
    with leaks.no_leaks():
        serve.start(http_options={"port": 0, "system_shared_memory": True})
        assert session._instance is not None
        serve.run(models.models, name="models", route_prefix="/models")
        serve.run(models.double.bind(), name="double", route_prefix="/double")
        yield session._instance.url
        serve.shutdown()


@pytest.fixture(scope="module")
def grpc_address() -> Iterator[str]:
    """Where the same models answer gRPC."""
    resource_tracker.ensure_running()
    warm()
    with leaks.no_leaks():
        serve.start(
            http_options={"port": 0, "system_shared_memory": True},
            grpc_options={"port": 0, "inference": True},
        )
        assert session._instance is not None
        serve.run(models.models, name="models", route_prefix=None)
        serve.run(models.double.bind(), name="double", route_prefix=None)
        yield session._instance.grpc_address
        serve.shutdown()


@pytest.fixture(scope="module")
def http(server: str) -> Iterator[httpx.Client]:
    """Raw HTTP to it."""
    with httpx.Client(base_url=server, timeout=20) as client:
        yield client
