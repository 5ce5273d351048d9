"""Clients of a door that speaks TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import trustme

from salver import serve
from salver.api import session
from salver.client import AsyncClient, Client, UnavailableError
from tests.doors.grpc.warm import warm
from tests.protocols import models

warm()


@pytest.fixture
def urls(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where it answers, by a certificate of an authority in `ca.pem`."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    files = {"ssl_certfile": tmp_path / "cert.pem", "ssl_keyfile": tmp_path / "key.pem"}
    options = {"port": 0} | {name: str(path) for name, path in files.items()}
    serve.start(http_options=options, grpc_options=options | {"inference": True})
    serve.run(models.models)
    assert session._instance is not None
    yield {"https": session._instance.url, "grpcs": f"grpcs://{session._instance.grpc_address}"}
    serve.shutdown()


@pytest.mark.parametrize("scheme", ["https", "grpcs"])
async def test_who_believes_the_authority_is_served_and_others_are_not(
    urls: dict[str, str], scheme: str, tmp_path: Path
) -> None:
    url = urls[scheme]
    tls = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    array = np.random.default_rng(0).random(100_000)
    with Client(url, tls=tls, timeout=60) as client:
        for _ in range(2):
            assert np.array_equal(client.model("identity")(array), array)
        assert list(client.model("count").stream("a", n=1)) == ["a 0"]
    async with AsyncClient(url, tls=tls, timeout=60) as other:
        for _ in range(2):
            assert np.array_equal(await other.model("identity")(array), array)
        assert [item async for item in other.model("count").stream("a", n=1)] == ["a 0"]
    with Client(url, retries=0) as stranger, pytest.raises(UnavailableError, match="CERTIFICATE"):
        stranger.live()
    async with AsyncClient(url, retries=0) as strangers:
        with pytest.raises(UnavailableError, match="CERTIFICATE"):
            await strangers.live()


def unchecked() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    ("url", "tls", "why"),
    [
        ("grpcs://h", unchecked, "gRPC always checks who the server is"),
        ("grpc://h", ssl.create_default_context, "is for https and grpcs"),
    ],
)
def test_a_context_that_would_mean_nothing_is_refused(
    url: str, tls: Callable[[], ssl.SSLContext], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        Client(url, tls=tls())
