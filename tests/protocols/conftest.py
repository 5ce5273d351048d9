"""One instance with the models of `models.py`, for a module of judges."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from salver import serve
from salver.launch import Instance
from tests.doors.grpc.warm import warm
from tests.protocols import models
from tests.serving import serving


@pytest.fixture
def _no_leaks() -> None:
    """An instance serves a whole module here; what it leaves is looked at after its end."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Where it answers HTTP: `http://host:port`."""
    with _serving(route="/models") as instance:
        yield instance.url


@pytest.fixture(scope="module")
def doors() -> Iterator[Instance]:
    """An instance that answers HTTP and gRPC."""
    warm()
    with _serving(grpc_options={"port": 0, "inference": True}) as instance:
        yield instance


@pytest.fixture(scope="module")
def grpc_address(doors: Instance) -> str:
    """Where it answers gRPC."""
    return doors.grpc_address


@contextmanager
def _serving(route: str | None = None, **options: Any) -> Iterator[Instance]:
    with serving({"system_shared_memory": True}, **options) as instance:
        serve.run(models.models, name="models", route_prefix=route)
        serve.run(models.double.bind(), name="double", route_prefix=route and "/double")
        yield instance


@pytest.fixture(scope="module")
def http(server: str) -> Iterator[httpx.Client]:
    """Raw HTTP to it."""
    with httpx.Client(base_url=server, timeout=60) as client:
        yield client
