"""One instance with the models that judges ask, for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salver import serve
from salver.api import session
from salver.client import Client
from salver.testing import leaks
from tests.doors.grpc.warm import warm
from tests.protocols import models
from tests.serving import serving


@pytest.fixture
def _no_leaks() -> None:
    """An instance serves a whole module here; what it leaves is looked at after its end."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Where it answers: `http://host:port`."""
    warm()
    with serving(grpc_options={"port": 0, "inference": True}) as instance:
        serve.run(models.models, name="models", route_prefix="/models")
        serve.run(models.double.bind(), name="double", route_prefix="/double")
        yield instance.url


@pytest.fixture(scope="module")
def rpc(server: str) -> str:
    """Where the same instance answers gRPC: `grpc://host:port`."""
    assert session._instance is not None
    return f"grpc://{session._instance.grpc_address}"


@pytest.fixture(scope="module", params=["http", "memory", "grpc"])
def client(server: str, rpc: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client by each way, and surely by that."""
    way = request.param
    url = rpc if way == "grpc" else server
    with leaks.no_leaks(), Client(url, local=way == "memory", timeout=60) as client:
        client.model("double")(1.0)
        assert way == "grpc" or is_local(client) == (way == "memory")
        yield client


@pytest.fixture
def by_grpc(client: Client) -> bool:
    """Whether that client's way is gRPC."""
    return client.url.startswith("grpc")


def is_local(client: Client) -> bool:
    """Whether its calls go by shared memory."""
    local = client._calling.transport._local  # type: ignore[attr-defined]
    return local is not None and not local.closed
