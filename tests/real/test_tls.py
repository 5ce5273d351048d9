"""A door that speaks TLS: every kind of traffic, and who is turned away."""

# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import websockets
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from fastapi import FastAPI, Request, WebSocket
from starlette.responses import StreamingResponse

import salver
from salver.errors import SalverError
from salver.launch import Capacity, Instance
from salver.spec.http import HttpSettings
from tests.real.rig import Running

api = FastAPI()


@salver.deployment(max_ongoing_requests=64)
@salver.ingress(api)
class Echo:
    @api.post("/")
    async def echo(self, request: Request) -> Any:
        size = len(await request.body())
        return {"url": str(request.url), "size": size}

    @api.get("/stream")
    async def stream(self) -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield b"x" * 50_000

        return StreamingResponse(chunks())

    @api.websocket("/ws")
    async def talk(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.url.scheme + " " + await websocket.receive_text())
        await websocket.close(4001)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, Any]:
    """The door's certificate and key, as settings."""
    certificate = authority.issue_cert("127.0.0.1")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate.private_key_pem.write_to_path(str(key))
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(str(chain), append=True)
    return {"ssl_certfile": str(chain), "ssl_keyfile": str(key)}


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def secure(files: dict[str, Any]) -> Iterator[Running]:
    with Running.start(**files) as running:
        yield running


async def test_requests_bodies_streams_and_websockets(
    secure: Running, trusting: ssl.SSLContext
) -> None:
    await secure.deploy(Echo.bind())
    url = secure.instance.url
    assert url.startswith("https://127.0.0.1:")
    async with httpx.AsyncClient(base_url=url, verify=trusting, timeout=60) as client:
        for size in (0, 10, 100_000, 3_000_000):
            reply = await client.post("/", content=b"x" * size)
            assert reply.json() == {"url": f"{url}/", "size": size}

        async def piece() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"y" * 70_000

        assert (await client.post("/", content=piece())).json()["size"] == 700_000
        replies = await asyncio.gather(*(client.get("/stream") for _ in range(8)))
        assert {len(reply.content) for reply in replies} == {1_000_000}
    async with websockets.connect(f"{url.replace('https', 'wss')}/ws", ssl=trusting) as socket:
        await socket.send("hello")
        assert await socket.recv() == "wss hello"
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 4001


async def test_who_does_not_speak_tls_is_turned_away_alone(
    secure: Running, trusting: ssl.SSLContext
) -> None:
    await secure.deploy(Echo.bind())
    async with secure.client() as plain:
        (await plain.connect()).write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        with suppress(ConnectionError):
            answer = await plain.reader.read()
        assert not answer.startswith(b"HTTP/")
    async with httpx.AsyncClient(base_url=secure.instance.url, verify=True, timeout=60) as stranger:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await stranger.post("/")
    async with httpx.AsyncClient(
        base_url=secure.instance.url, verify=trusting, timeout=60
    ) as client:
        assert (await client.post("/")).status_code == 200


async def test_clients_must_be_certified_where_authorities_are_named(
    files: dict[str, Any], authority: trustme.CA, trusting: ssl.SSLContext, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Running.start(**files, ssl_ca_certs=str(tmp_path / "ca.pem")) as running:
        await running.deploy(Echo.bind())
        async with httpx.AsyncClient(
            base_url=running.instance.url, verify=trusting, timeout=60
        ) as client:
            with pytest.raises(httpx.TransportError):
                await client.post("/")
        authority.issue_cert("me@example.org").configure_cert(trusting)
        async with httpx.AsyncClient(
            base_url=running.instance.url, verify=trusting, timeout=60
        ) as client:
            assert (await client.post("/")).status_code == 200


def lock(key: Path, password: bytes) -> None:
    """Encrypt a key where it lies."""
    plain = load_pem_private_key(key.read_bytes(), None)
    secret = BestAvailableEncryption(password)
    key.write_bytes(plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))


async def test_a_key_may_have_a_password(files: dict[str, Any], trusting: ssl.SSLContext) -> None:
    lock(Path(files["ssl_keyfile"]), b"open sesame")
    with Running.start(**files, ssl_keyfile_password="open sesame") as running:
        await running.deploy(Echo.bind())
        async with httpx.AsyncClient(
            base_url=running.instance.url, verify=trusting, timeout=60
        ) as client:
            assert (await client.post("/")).status_code == 200
    wrong = HttpSettings(port=0, **files, ssl_keyfile_password="close sesame")
    with pytest.raises(SalverError, match=r"cannot be used: .*wrong password"):
        Instance.start(wrong, Capacity())


def test_files_that_cannot_be_used_are_named(files: dict[str, Any], tmp_path: Path) -> None:
    for wrong in (str(tmp_path / "none.pem"), files["ssl_certfile"]):
        settings = HttpSettings(port=0, ssl_certfile=files["ssl_certfile"], ssl_keyfile=wrong)
        with pytest.raises(SalverError, match=r"^ssl_certfile='.*' with ssl_keyfile='.*' cannot"):
            Instance.start(settings, Capacity())
    settings = HttpSettings(port=0, **files, ssl_ca_certs="nowhere.pem")
    with pytest.raises(SalverError, match=r"^ssl_ca_certs='nowhere.pem' cannot be used: No such"):
        Instance.start(settings, Capacity())
