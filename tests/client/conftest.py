"""One instance with the models that judges ask, for a module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from salver import serve
from salver.api import session
from salver.client import Client
from salver.testing import leaks
from tests.protocols import models


@pytest.fixture
def _no_leaks() -> None:
    """An instance serves a whole module here; what it leaves is looked at after its end."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Where it answers: `http://host:port`."""
    with leaks.no_leaks():
        serve.start(http_options={"port": 0})
        assert session._instance is not None
        serve.run(models.models, name="models", route_prefix="/models")
        serve.run(models.double.bind(), name="double", route_prefix="/double")
        yield session._instance.url
        serve.shutdown()


@pytest.fixture(scope="module", params=["http", "memory"])
def client(server: str, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client by either way; the tests make sure that it is that way."""
    with leaks.no_leaks(), Client(server, local=request.param == "memory", timeout=20) as client:
        client.model("double")(1.0)
        assert is_local(client) == (request.param == "memory")
        yield client


def is_local(client: Client) -> bool:
    """Whether its calls go by shared memory."""
    local = client._calling.transport._local  # type: ignore[attr-defined]
    return local is not None and not local.closed
