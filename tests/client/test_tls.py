"""Clients of a door that speaks TLS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trustme

from salver import serve
from salver.api import session
from salver.client import AsyncClient, Client, UnavailableError
from tests.protocols import models


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where it answers, by a certificate of an authority in `ca.pem`."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = {"ssl_certfile": tmp_path / "cert.pem", "ssl_keyfile": tmp_path / "key.pem"}
    serve.start(http_options={"port": 0} | {name: str(path) for name, path in files.items()})
    serve.run(models.models)
    assert session._instance is not None
    yield session._instance.url
    serve.shutdown()


async def test_who_believes_the_authority_is_served_and_others_are_not(
    url: str, tmp_path: Path
) -> None:
    tls = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    array = np.random.default_rng(0).random(100_000)
    with Client(url, tls=tls, timeout=20) as client:
        for _ in range(2):
            assert np.array_equal(client.model("identity")(array), array)
        assert list(client.model("count").stream("a", n=1)) == ["a 0"]
    async with AsyncClient(url, tls=tls, timeout=20) as other:
        for _ in range(2):
            assert np.array_equal(await other.model("identity")(array), array)
        assert [item async for item in other.model("count").stream("a", n=1)] == ["a 0"]
    with Client(url, retries=0) as stranger, pytest.raises(UnavailableError, match="CERTIFICATE"):
        stranger.live()
    async with AsyncClient(url, retries=0) as strangers:
        with pytest.raises(UnavailableError, match="CERTIFICATE"):
            await strangers.live()
